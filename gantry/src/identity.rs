//! The certificate that the gRPC port shows: the operator's files, or a self-signed one that is made on the first
//! start and kept below the data directory, so that clients which remember it are not surprised by a restart.
//!
//! ```text
//! tls/key.pem   the private key, readable by its owner alone
//! tls/cert.pem  the certificate; written last, so where it is, the key is too
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use remoting::tls::{self, Identity};

use crate::config::TlsFiles;

/// Readable and writable by its owner alone.
pub(crate) const KEY_MODE: u32 = 0o600;
const CERT_MODE: u32 = 0o644;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file cannot be read.
    #[error("cannot read {file}: {source}")]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {file}: {source}")]
    Write {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What the files hold cannot be used.
    #[error("{cert} and {key}: {source}")]
    Unusable {
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
        /// Why.
        source: tls::Error,
    },
    /// A self-signed one cannot be made.
    #[error(transparent)]
    Make(tls::Error),
}

/// What a self-signed certificate is for: this machine, and the host that clients are told if there is one.
pub(crate) fn names(advertised: Option<&str>) -> Vec<String> {
    ["localhost", "127.0.0.1", "::1"].into_iter().chain(advertised).map(str::to_owned).collect()
}

/// The operator's certificate, or the self-signed one of this data directory; usable on return.
///
/// The caller holds the data directory's lock, so nobody else makes one at the same time.
///
/// # Errors
/// [`Error`], which names the file.
pub(crate) fn load(files: Option<&TlsFiles>, data: &Path, names: Vec<String>) -> Result<Identity, Error> {
    let files = match files {
        Some(files) => files.clone(),
        None => {
            let folder = data.join("tls");
            let files = TlsFiles { cert: folder.join("cert.pem"), key: folder.join("key.pem") };
            if !files.cert.exists() {
                make(&folder, &files, names)?;
            }
            files
        }
    };
    let identity = Identity { certificates_pem: read(&files.cert)?, key_pem: read(&files.key)? };
    match identity.server_config(&[]) {
        Ok(_) => Ok(identity),
        Err(source) => Err(Error::Unusable { cert: files.cert, key: files.key, source }),
    }
}

fn make(folder: &Path, files: &TlsFiles, names: Vec<String>) -> Result<(), Error> {
    let made = Identity::self_signed(names).map_err(Error::Make)?;
    fs::create_dir_all(folder).map_err(|source| Error::Write { file: folder.to_owned(), source })?;
    write(&files.key, &made.key_pem, KEY_MODE)?;
    write(&files.cert, &made.certificates_pem, CERT_MODE)?;
    tracing::info!(cert = %files.cert.display(), "made a self-signed certificate");
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "certificates belong to the front door, which is not simulated")]
pub(crate) fn read(file: &Path) -> Result<String, Error> {
    fs::read(file)
        .and_then(|bytes| String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)))
        .map_err(|source| Error::Read { file: file.to_owned(), source })
}

/// Writes a file as a whole or not at all, whatever happens meanwhile.
#[expect(clippy::disallowed_methods, reason = "certificates belong to the front door, which is not simulated")]
pub(crate) fn write(file: &Path, text: &str, mode: u32) -> Result<(), Error> {
    let partial = file.with_extension("partial");
    let write = || {
        // A leftover of a crash may have other permissions.
        match fs::remove_file(&partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut out = OpenOptions::new().write(true).create_new(true).mode(mode).open(&partial)?;
        out.write_all(text.as_bytes())?;
        out.sync_all()?;
        fs::rename(&partial, file)?;
        file.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    write().map_err(|source| Error::Write { file: file.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names() -> Vec<String> {
        vec!["localhost".to_owned()]
    }

    #[test]
    fn the_self_signed_certificate_is_kept_and_its_key_private() {
        let data = tempfile::tempdir().expect("a folder");
        let first = load(None, data.path(), names()).expect("made");
        let again = load(None, data.path(), names()).expect("kept");
        assert_eq!(first.certificates_pem, again.certificates_pem);
        let key = fs::metadata(data.path().join("tls/key.pem")).expect("written");
        assert_eq!(key.permissions().mode() & 0o777, KEY_MODE);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "acts on the files that a start left")]
    fn a_start_that_was_cut_short_is_made_good() {
        let data = tempfile::tempdir().expect("a folder");
        load(None, data.path(), names()).expect("made");
        fs::rename(data.path().join("tls/cert.pem"), data.path().join("tls/cert.partial")).expect("there");
        load(None, data.path(), names()).expect("made anew, key and certificate");
    }

    #[test]
    fn missing_files_are_named() {
        let files = TlsFiles { cert: "/nonexistent/c.pem".into(), key: "/nonexistent/k.pem".into() };
        let error = load(Some(&files), Path::new("/"), names()).expect_err("missing").to_string();
        assert!(error.contains("/nonexistent/c.pem"), "{error}");
    }
}
