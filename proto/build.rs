//! Compiles the .proto files with protox, so that building needs no protoc.

use std::path::PathBuf;

use prost::Message as _;

const FILES: &[&str] = &[
    "selvedge/v1/failure.proto",
    "selvedge/v1/job.proto",
    "selvedge/v1/query.proto",
    "selvedge/v1/cluster.proto",
    "selvedge/v1/catalog.proto",
    "selvedge/internal/v1/fleet.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("selvedge.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
