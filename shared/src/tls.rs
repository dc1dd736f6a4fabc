//! The one TLS configuration of this process: towards AWS, towards identity providers.
//!
//! The trusted roots are read once, from where operating systems keep them, and not from `SSL_CERT_FILE`, which anybody who can set
//! an environment variable could point elsewhere (security checklist 77).

use std::sync::{Arc, LazyLock};

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// Where operating systems keep their trusted roots.
const ROOTS: [&str; 4] =
    ["/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"];

static CONFIGURATION: LazyLock<Option<ClientConfig>> = LazyLock::new(|| {
    let bundle = ROOTS.iter().find_map(|path| std::fs::read(path).ok())?;
    trusting(&bundle)
});

/// Gives a client the configuration. A machine without one of the known files is no Lambda: the platform's verifier serves it.
pub(crate) fn configure(builder: reqwest::ClientBuilder) -> reqwest::ClientBuilder {
    match &*CONFIGURATION {
        Some(configuration) => builder.tls_backend_preconfigured(configuration.clone()),
        None => builder.tls_version_min(reqwest::tls::Version::TLS_1_2),
    }
}

/// TLS 1.2 or later (security checklist 38), trusting these roots in PEM. One that does not parse is left out.
pub(crate) fn trusting(bundle: &[u8]) -> Option<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(bundle).filter_map(Result::ok));
    if roots.is_empty() {
        return None;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider())).with_safe_default_protocol_versions().ok()?;
    Some(builder.with_root_certificates(roots).with_no_client_auth())
}
