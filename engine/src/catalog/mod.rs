//! Tables, views and schemas, and how their files are read.
