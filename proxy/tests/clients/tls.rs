//! TLS and plaintext on one port.

use std::sync::Arc;

use grpc::v2;
use grpc::v2::Code;
use grpc::v2::messaging_service_client::MessagingServiceClient;
use hyper_util::rt::TokioIo;
use remoting::tls::Identity;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::{World, code, message};

/// What Java and Go do: any certificate will do.
#[derive(Debug)]
struct Trusting(Arc<CryptoProvider>);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn connector() -> TlsConnector {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("TLS")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsConnector::from(Arc::new(config))
}

async fn with_certificate() -> World {
    let tls = Some(Identity::self_signed(vec!["localhost".to_owned()]).expect("made"));
    World::with(proxy::Options { tls, ..proxy::Options::default() }, |_| {}).await
}

#[tokio::test]
async fn tls_and_plaintext_share_the_port() {
    let world = with_certificate().await;
    let address = world.server.address;
    let connect = tower::service_fn(move |_| async move {
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost").expect("a name");
        connector().connect(name, stream).await.map(TokioIo::new)
    });
    let channel = world.server.endpoint().connect_with_connector(connect).await.expect("connected");
    let mut secure = world.client("go").await;
    secure.service = MessagingServiceClient::new(channel);
    secure.send_ok(vec![message("secret")]).await;
    world.client("python").await.send_ok(vec![message("plain")]).await;
    assert_eq!(code(&secure.heartbeat(v2::ClientType::Producer).await.status), Code::Ok);
}

#[tokio::test]
async fn without_a_certificate_tls_is_closed_and_plaintext_served() {
    let world = World::start().await;
    let stream = TcpStream::connect(world.server.address).await.expect("connected");
    let name = ServerName::try_from("localhost").expect("a name");
    assert!(connector().connect(name, stream).await.is_err());
    world.client("python").await.send_ok(vec![message("plain")]).await;
}

#[tokio::test]
async fn a_broken_handshake_is_closed() {
    use tokio::io::AsyncWriteExt;
    let world = with_certificate().await;
    let mut stream = TcpStream::connect(world.server.address).await.expect("connected");
    stream.write_all(&[0x16; 64]).await.expect("written");
    let mut rest = Vec::new();
    // An alert may come first; what matters is the end.
    let _ = stream.read_to_end(&mut rest).await;
    world.client("python").await.send_ok(vec![message("plain")]).await;
}
