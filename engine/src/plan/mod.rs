//! Our plan nodes and what carries them between scheduler and executor.
