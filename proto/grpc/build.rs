//! Compiles our `.proto` files to messages, client and server, without a `protoc` on the machine.

use std::error::Error;
use std::path::PathBuf;

use prost::Message;

const ROOT: &str = "proto";
const FILES: [&str; 3] =
    ["apache/rocketmq/v2/definition.proto", "apache/rocketmq/v2/service.proto", "apache/rocketmq/v2/admin.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={ROOT}");
    let files = protox::compile(FILES, [ROOT])?;

    // `compile_fds` ignores `file_descriptor_set_path`, so the descriptors for reflection are written here.
    let out_dir = PathBuf::from(std::env::var("OUT_DIR")?);
    #[expect(clippy::disallowed_methods, reason = "a build script has no env")]
    std::fs::write(out_dir.join("descriptors.bin"), files.encode_to_vec())?;

    tonic_prost_build::configure()
        // A body is a slice of the frame it came in, not a copy.
        .bytes(".apache.rocketmq.v2.Message.body")
        // Maps are sorted, so that what is stored of them does not depend on a random seed.
        .btree_map(".")
        .compile_fds(files)?;
    Ok(())
}
