//! Whom a client that speaks TLS believes to be who they say they are.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::tls::Error;

/// See the module's head; copies share their sessions.
#[derive(Clone)]
pub struct Trust(TlsConnector);

impl Trust {
    /// Believes who shows a certificate of one of these authorities, or one of these certificates itself, PEM, for the host that was
    /// asked for.
    ///
    /// # Errors
    /// The text holds no certificate, or one that cannot be used.
    pub fn only(authorities_pem: &str) -> Result<Self, Error> {
        let pem = |error: rustls_pki_types::pem::Error| Error::Pem { part: "certificate", reason: error.to_string() };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authorities_pem.as_bytes()) {
            roots.add(certificate.map_err(pem)?)?;
        }
        if roots.is_empty() {
            return Err(Error::NoCertificate);
        }
        let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        Ok(Self::of(config.with_root_certificates(roots).with_no_client_auth()))
    }

    /// Believes everybody: nobody who only listens can read along, but whoever answers may be somebody else. So do Apache's clients, unless
    /// they are told otherwise (`tls.client.authServer`), and brokers of both show certificates that nobody vouches for.
    ///
    /// # Errors
    /// There is no version of TLS that can be spoken.
    pub fn everybody() -> Result<Self, Error> {
        let provider = provider();
        let verifier = Arc::new(Everybody(provider.signature_verification_algorithms));
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        Ok(Self::of(config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()))
    }

    fn of(config: ClientConfig) -> Self {
        Self(TlsConnector::from(Arc::new(config)))
    }

    /// Agrees on TLS with the peer at `address` (`HOST:PORT`).
    pub(crate) async fn connect(&self, address: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(io::Error::other)?;
        self.0.connect(name, stream).await
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Looks at no certificate, but at whether the peer has its key.
#[derive(Debug)]
struct Everybody(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Everybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trust").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_without_a_certificate_is_refused() {
        assert!(matches!(Trust::only(""), Err(Error::NoCertificate)));
        let broken = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
        assert!(matches!(Trust::only(broken), Err(Error::Pem { .. })));
    }
}
