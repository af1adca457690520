//! Compressed bodies: what a producer compressed in its own way, consumers of any language get plain.
//!
//! A record says that its body is compressed; how, it says only since RocketMQ 5 and only for producers that speak
//! Remoting, so the body's own first bytes decide. Source: facts/grpc.md pitfall 28.

use std::io::Read;

use bytes::Bytes;
use flate2::read::{GzDecoder, ZlibDecoder};
use lz4_flex::frame::FrameDecoder;
use types::SysFlag;

/// Largest plain body; a longer one goes to the client as it was stored, so that a small message cannot
/// cost a lot of memory.
pub const PLAIN_BYTES_MAX: usize = 8 * types::message::BODY_BYTES_MAX;

/// How the body that goes to the client is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As the producer's program gave it.
    Identity,
    /// As the producer's client compressed it, in a way that is not known here or to more than [`PLAIN_BYTES_MAX`].
    Compressed,
}

/// The body as its sender meant it, if that can be had.
#[must_use]
pub fn plain(body: Bytes, sys_flag: SysFlag) -> (Bytes, Encoding) {
    if !sys_flag.has(SysFlag::COMPRESSED) {
        return (body, Encoding::Identity);
    }
    let plain = match body.as_ref() {
        [0x1f, 0x8b, ..] => read(GzDecoder::new(body.as_ref())),
        [0x04, 0x22, 0x4d, 0x18, ..] => read(FrameDecoder::new(body.as_ref())),
        [0x78, ..] => read(ZlibDecoder::new(body.as_ref())),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => zstd(&body),
        _ => None,
    };
    match plain {
        Some(plain) => (plain, Encoding::Identity),
        None => (body, Encoding::Compressed),
    }
}

/// Its frames name the memory that they need, up to 2 GiB: no more than the plain body may have.
fn zstd(body: &[u8]) -> Option<Bytes> {
    let mut decoder = zstd::Decoder::with_buffer(body).ok()?;
    decoder.window_log_max(PLAIN_BYTES_MAX.ilog2()).ok()?;
    read(decoder)
}

/// All that the decoder gives, unless it fails or gives too much.
fn read(decoder: impl Read) -> Option<Bytes> {
    let mut plain = Vec::new();
    let limit = PLAIN_BYTES_MAX as u64 + 1;
    decoder.take(limit).read_to_end(&mut plain).ok()?;
    (plain.len() <= PLAIN_BYTES_MAX).then(|| plain.into())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};
    use lz4_flex::frame::FrameEncoder;

    use super::*;

    pub(crate) fn zlib(plain: &[u8]) -> Bytes {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain).expect("memory");
        encoder.finish().expect("memory").into()
    }

    fn gzip(plain: &[u8]) -> Bytes {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain).expect("memory");
        encoder.finish().expect("memory").into()
    }

    fn lz4(plain: &[u8]) -> Bytes {
        let mut encoder = FrameEncoder::new(Vec::new());
        encoder.write_all(plain).expect("memory");
        encoder.finish().expect("memory").into()
    }

    fn zstd(plain: &[u8]) -> Bytes {
        zstd::encode_all(plain, 0).expect("memory").into()
    }

    #[test]
    fn every_known_compression_arrives_plain() {
        for compressed in [zlib(b"hello"), gzip(b"hello"), lz4(b"hello"), zstd(b"hello")] {
            assert_eq!(plain(compressed, SysFlag::COMPRESSED), (Bytes::from_static(b"hello"), Encoding::Identity));
        }
    }

    #[test]
    fn bodies_that_are_not_flagged_are_left_alone() {
        let body = gzip(b"hello");
        assert_eq!(plain(body.clone(), SysFlag::default()), (body, Encoding::Identity));
    }

    #[test]
    fn what_cannot_be_unpacked_goes_out_as_it_is() {
        let broken = Bytes::from_static(&[0x1f, 0x8b, 1, 2, 3]);
        assert_eq!(plain(broken.clone(), SysFlag::COMPRESSED), (broken, Encoding::Compressed));
        for bomb in [gzip(&vec![0; PLAIN_BYTES_MAX + 1]), zstd(&vec![0; PLAIN_BYTES_MAX + 1])] {
            assert_eq!(plain(bomb.clone(), SysFlag::COMPRESSED), (bomb, Encoding::Compressed));
        }
        // A frame of one empty block that asks for a window of 1 GiB.
        let greedy = Bytes::from_static(&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa0, 0x01, 0x00, 0x00]);
        assert_eq!(plain(greedy.clone(), SysFlag::COMPRESSED), (greedy, Encoding::Compressed));
    }
}
