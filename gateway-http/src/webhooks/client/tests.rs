use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::http::Method;
use axum::routing::any;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::subscription::Subscription;
use super::super::subscription::tests::webhook;
use super::super::views::NewWebhook;
use super::*;

const NOW: Timestamp = Timestamp(1_700_000_000_500);

fn content() -> Content {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("text/plain"));
    Content { id: "id-1".to_owned(), headers, body: Bytes::from_static(b"hello") }
}

fn endpoint(url: &str) -> Endpoint {
    Subscription::parse(&NewWebhook { url: url.to_owned(), ..webhook() }).expect("valid").endpoint
}

fn private() -> Allowed {
    "private".parse().expect("all")
}

async fn post(allowed: Allowed, url: &str) -> Answer {
    post_trusting(Authorities::default(), allowed, url).await
}

async fn post_trusting(authorities: Authorities, allowed: Allowed, url: &str) -> Answer {
    let client = Client::new(allowed, authorities).expect("TLS");
    client.post(&endpoint(url), content(), Duration::from_secs(2), NOW).await
}

async fn unwanted() -> StatusCode {
    panic!("called")
}

/// A server of these routes.
async fn serve(routes: Router) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

fn answered(status: u16, retry_after: Option<&'static str>) -> Outcome {
    let mut headers = HeaderMap::new();
    if let Some(text) = retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from_static(text));
    }
    judge(StatusCode::from_u16(status).expect("a status"), &headers, NOW).outcome
}

#[test]
fn a_status_says_what_becomes_of_messages() {
    let asked = Outcome::Throttled { retry_after: Some(Duration::from_secs(7)), is_attempt: false };
    let unasked = |is_attempt| Outcome::Throttled { retry_after: None, is_attempt };
    for status in [200, 201, 202, 204, 299] {
        assert_eq!(answered(status, None), Outcome::Delivered, "{status}");
    }
    for status in [301, 302, 307, 400, 401, 404, 500, 503] {
        assert_eq!(answered(status, None), Outcome::Failed, "{status}");
    }
    for status in [429, 502, 503, 504] {
        assert_eq!(answered(status, Some("7")), asked, "{status}");
    }
    assert_eq!(answered(429, None), unasked(false));
    assert_eq!([502, 504].map(|status| answered(status, None)), [unasked(true), unasked(true)]);
    assert_eq!(answered(410, Some("7")), Outcome::Gone);
}

#[test]
fn retry_after_is_seconds_or_a_date_within_a_bound() {
    let wait = |text| retry_after(text, NOW).map(|wait| wait.as_millis());
    assert_eq!(wait("120"), Some(120_000));
    assert_eq!(wait("Tue, 14 Nov 2023 22:14:20 GMT"), Some(59_500));
    assert_eq!(wait("Tue, 14 Nov 2023 22:00:00 GMT"), Some(1000), "it is over");
    assert_eq!(wait("0"), Some(1000), "not in a tight loop");
    assert_eq!(wait("999999999"), Some(3_600_000));
    assert_eq!(wait("soon"), None);
}

#[tokio::test]
async fn a_call_is_signed_and_carries_its_content() {
    let (seen, mut calls) = tokio::sync::mpsc::channel(1);
    let route = any(async move |method: Method, headers: HeaderMap, body: Bytes| {
        seen.send((method, headers, body)).await.expect("awaited");
    });
    let address = serve(Router::new().route("/in", route)).await;
    let answer = post(private(), &format!("http://{address}/in?a=1")).await;
    assert_eq!((answer.outcome, answer.status), (Outcome::Delivered, Some(200)));
    let (method, headers, body) = calls.recv().await.expect("a call");
    assert_eq!((method, body.as_ref()), (Method::POST, b"hello".as_slice()));
    let header = |name: &str| headers[name].to_str().expect("text").to_owned();
    assert_eq!((header("webhook-id"), header("webhook-timestamp")), ("id-1".to_owned(), "1700000000".to_owned()));
    let secrets = &endpoint("http://a/").secrets;
    assert_eq!(header("webhook-signature"), signature::header(secrets, "id-1", 1_700_000_000, b"hello"));
    assert_eq!(header("content-type"), "text/plain");
}

#[tokio::test]
async fn redirects_are_failures_and_nobody_follows_them() {
    let elsewhere = any(unwanted);
    let redirect = any(async || (StatusCode::TEMPORARY_REDIRECT, [("location", "/elsewhere")]));
    let address = serve(Router::new().route("/in", redirect).route("/elsewhere", elsewhere)).await;
    let answer = post(private(), &format!("http://{address}/in")).await;
    assert_eq!((answer.outcome, answer.status), (Outcome::Failed, Some(307)));
    assert!(answer.error.expect("why").contains("redirects are not followed"));
}

#[tokio::test]
async fn private_addresses_are_not_called_however_they_are_named() {
    let address = serve(Router::new().fallback(any(unwanted))).await;
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "127.1"] {
        let answer = post(Allowed::default(), &format!("http://{host}:{}/", address.port())).await;
        let error = answer.error.expect("why");
        assert!(answer.status.is_none() && error.contains("not allowed by --webhook-allow"), "{host}: {error}");
    }
}

#[tokio::test]
async fn an_endless_answer_is_not_read_and_a_hanging_one_ends() {
    let endless = any(async || {
        let piece = || Ok::<_, std::convert::Infallible>(vec![0_u8; 4096]);
        axum::body::Body::from_stream(tokio_stream::iter(std::iter::repeat_with(piece)))
    });
    let hanging = any(async || std::future::pending::<()>().await);
    let address = serve(Router::new().route("/endless", endless).route("/hanging", hanging)).await;
    assert_eq!(post(private(), &format!("http://{address}/endless")).await.outcome, Outcome::Delivered);
    let answer = post(private(), &format!("http://{address}/hanging")).await;
    assert_eq!((answer.outcome, answer.status), (Outcome::Failed, None));
    assert!(answer.error.expect("why").contains("timed out"));
}

/// A private authority, and an endpoint whose certificate is from it; answers 204 to everything.
async fn endpoint_of_an_authority() -> (Authorities, String) {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "an authority");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = rcgen::CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().expect("made")).expect("made");
    let authorities = Authorities::parse(&issuer.pem()).expect("a certificate");

    let key = rcgen::KeyPair::generate().expect("made");
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, &issuer).expect("made");
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = rustls::ServerConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("a pair");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that does not trust it gives up here.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = [0; 4096];
            while !request.ends_with(b"hello") {
                let read = stream.read(&mut request).await.expect("a request");
                assert_ne!(read, 0, "not all of it came");
                request.rotate_left(read);
            }
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.expect("written");
        }
    });
    (authorities, format!("https://localhost:{port}/"))
}

#[tokio::test]
async fn a_certificate_is_good_by_an_authority_that_was_named_and_else_refused() {
    let (authorities, url) = endpoint_of_an_authority().await;
    let refused = post(private(), &url).await;
    assert_eq!((refused.outcome, refused.status), (Outcome::Failed, None));
    assert!(refused.error.as_ref().is_some_and(|error| error.contains("certificate")), "{refused:?}");
    let trusted = post_trusting(authorities, private(), &url).await;
    assert_eq!((trusted.outcome, trusted.status), (Outcome::Delivered, Some(204)), "{trusted:?}");
}

#[test]
fn a_file_of_authorities_without_certificates_is_refused() {
    assert!(Authorities::parse("").expect_err("nothing").contains("no certificate"));
    let broken = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
    assert!(Authorities::parse(broken).is_err());
}
