//! A call with one message each way, without the buffers that tonic has for streams of them: the request's message is a slice of
//! the frame it came in if it came in one, and the answer is made in the memory from which it is sent.

use bytes::{BufMut, Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::{BodyExt, LengthLimitError, Limited, StreamBody};
use hyper::body::Frame;
use prost::Message;
use tonic::Status;
use tonic::body::Body;
use tonic::metadata::{MetadataMap, MetadataValue};

use crate::http2::Metered;

/// Before each message: whether it is compressed, and its length. Source: gRPC over HTTP/2, `Length-Prefixed-Message`.
const PREFIX_BYTES: usize = 5;
/// Room that nearly all answers find enough.
const ANSWER_BYTES: usize = 2048;

/// Reads a request: its headers and its message, which has at most `bytes_max` bytes.
///
/// # Errors
/// As tonic's, with its codes.
pub(super) async fn read(request: http::Request<Metered>, bytes_max: usize) -> Result<(MetadataMap, Bytes), Status> {
    let (head, body) = request.into_parts();
    if let Some(encoding) = head.headers.get("grpc-encoding").filter(|encoding| *encoding != "identity") {
        let mut status = Status::unimplemented(format!("grpc-encoding is {encoding:?}, only identity is supported"));
        status.metadata_mut().insert("grpc-accept-encoding", MetadataValue::from_static("identity"));
        return Err(status);
    }
    let body = Limited::new(body, bytes_max.saturating_add(PREFIX_BYTES));
    let bytes = joined(body).await.map_err(|error| match error.is::<LengthLimitError>() {
        true => Status::out_of_range(format!("the message is larger than {bytes_max} bytes")),
        false => Status::from_error(error),
    })?;
    Ok((MetadataMap::from_headers(head.headers), message(bytes)?))
}

/// A body's bytes: the frame itself when it is one, else a copy, so that many small frames take no more room than what is in them.
async fn joined(mut body: Limited<Metered>) -> Result<Bytes, Box<dyn std::error::Error + Send + Sync>> {
    let (mut first, mut joined) = (Bytes::new(), BytesMut::new());
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if joined.is_empty() && first.is_empty() {
            first = data;
            continue;
        }
        if joined.is_empty() {
            joined.extend_from_slice(&first);
        }
        joined.extend_from_slice(&data);
    }
    Ok(if joined.is_empty() { first } else { joined.freeze() })
}

/// The first message of a body.
fn message(mut body: Bytes) -> Result<Bytes, Status> {
    if body.is_empty() {
        return Err(Status::internal("Missing request message."));
    }
    let Some(([is_compressed, length @ ..], _)) = body.split_first_chunk::<PREFIX_BYTES>() else {
        return Err(Status::internal("the request ends within its message's prefix"));
    };
    let length = u32::from_be_bytes(*length) as usize;
    if *is_compressed != 0 {
        return Err(Status::internal("the message is marked as compressed, but no grpc-encoding was specified"));
    }
    if body.len() - PREFIX_BYTES < length {
        return Err(Status::internal("the request ends within its message"));
    }
    body.truncate(PREFIX_BYTES + length);
    Ok(body.split_off(PREFIX_BYTES))
}

/// An answer that carries a message.
pub(super) fn respond(message: &impl Message) -> http::Response<Body> {
    let mut bytes = BytesMut::with_capacity(ANSWER_BYTES);
    bytes.put_bytes(0, PREFIX_BYTES);
    if let Err(error) = message.encode(&mut bytes) {
        return Status::internal(error.to_string()).into_http();
    }
    let Ok(length) = u32::try_from(bytes.len() - PREFIX_BYTES) else {
        return Status::out_of_range("the answer is longer than 4 GiB").into_http();
    };
    bytes[1..PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
    let trailers = HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]);
    let frames = [Frame::data(bytes.freeze()), Frame::trailers(trailers)].map(Ok::<_, Status>);
    let mut response = http::Response::new(Body::new(StreamBody::new(tokio_stream::iter(frames))));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &'static [u8]) -> Result<Bytes, tonic::Code> {
        message(Bytes::from_static(body)).map_err(|status| status.code())
    }

    #[test]
    fn the_first_message_is_taken_and_never_more_than_there_is() {
        assert_eq!(read(b"\0\0\0\0\x03abc").as_deref(), Ok(&b"abc"[..]));
        assert_eq!(read(b"\0\0\0\0\x03abc\0\0\0\0\x01d").as_deref(), Ok(&b"abc"[..]));
        assert_eq!(read(b"\0\0\0\0\0").as_deref(), Ok(&b""[..]));
        for broken in [&b""[..], b"\0\0\0\0", b"\0\0\0\0\x04abc", b"\0\xff\xff\xff\xffabc", b"\x01\0\0\0\x03abc"] {
            assert_eq!(read(broken), Err(tonic::Code::Internal), "{broken:?}");
        }
    }
}
