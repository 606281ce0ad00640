//! Compiles our .proto files with protox (pure Rust), so no protoc is needed.

use std::io::Result;
use std::path::Path;

fn main() -> Result<()> {
    let folder = Path::new("src/proto");
    println!("cargo:rerun-if-changed={}", folder.display());
    let descriptors = protox::compile(["rpc.proto", "command.proto", "health.proto"], [folder])
        .map_err(std::io::Error::other)?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)
}
