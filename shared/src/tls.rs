//! The one TLS configuration of this process: towards AWS, towards identity providers.
//!
//! The trusted roots are read once, from where operating systems keep them, and not from `SSL_CERT_FILE`, which anybody who can set
//! an environment variable could point elsewhere (security checklist 77).

use std::sync::{Arc, LazyLock};

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;

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
    roots.add_parsable_certificates(certificates(&String::from_utf8_lossy(bundle)));
    if roots.is_empty() {
        return None;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider())).with_safe_default_protocol_versions().ok()?;
    Some(builder.with_root_certificates(roots).with_no_client_auth())
}

/// The certificates of a bundle (RFC 7468): what stands between the lines, without the explanations that some bundles have around them.
/// The library's own reader decodes without revealing what by its time, as keys need it; for what is public, that is half of a start.
fn certificates(bundle: &str) -> impl Iterator<Item = CertificateDer<'static>> {
    let blocks = bundle.split("-----BEGIN CERTIFICATE-----").skip(1).filter_map(|rest| rest.split_once("-----END CERTIFICATE-----"));
    blocks.filter_map(|(encoded, _)| base64_simd::forgiving_decode_to_vec(encoded.as_bytes()).ok()).map(CertificateDer::from)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use rustls_pki_types::pem::PemObject as _;

    use super::*;

    fn certificate() -> (String, CertificateDer<'static>) {
        let der = rcgen::generate_simple_self_signed(["example.com".to_owned()]).unwrap().cert.der().clone();
        let encoded = STANDARD.encode(&der);
        let lines: Vec<_> = encoded.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        (format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n")), der)
    }

    fn read(bundle: &str) -> Vec<CertificateDer<'static>> {
        certificates(bundle).collect()
    }

    #[test]
    fn a_bundle_is_read_as_the_library_reads_it() {
        let ((one, first), (two, second)) = (certificate(), certificate());
        let both = [first, second];
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        for bundle in [
            format!("{one}{two}"),
            format!("{one}\n\n{two}").replace('\n', "\r\n"),
            format!("# Issuer: CN=Example\n# Label: \"Example\"\n{one}\n\u{e9}\n{key}\nmore text\n{two}# the end"),
        ] {
            assert_eq!(read(&bundle), both, "{bundle}");
            let by_the_library: Vec<_> = CertificateDer::pem_slice_iter(bundle.as_bytes()).filter_map(Result::ok).collect();
            assert_eq!(by_the_library, both, "{bundle}");
        }
    }

    #[test]
    fn what_is_broken_is_left_out_and_the_rest_stays() {
        let ((one, first), (two, second)) = (certificate(), certificate());
        for broken in [one.replacen('M', "*", 1), one.replace("-----END", "-----Ende"), one.replace("BEGIN", "begin"), String::new()] {
            assert_eq!(read(&format!("{two}{broken}")), std::slice::from_ref(&second), "{broken}");
        }
        assert_eq!(read(&format!("-----BEGIN CERTIFICATE-----\n{one}")), [first]);
        assert!(certificates(&String::from_utf8_lossy(b"\xff")).next().is_none());
        assert!(trusting(b"no certificate").is_none());
        // An explanation in another encoding than UTF-8 is one, too.
        assert!(trusting(&[b"# F\xf5tan\xfas\xedtv\xe1ny\n", one.as_bytes()].concat()).is_some());
    }

    #[test]
    fn every_root_of_this_machine_is_read() {
        let Some(bundle) = ROOTS.iter().find_map(|path| std::fs::read(path).ok()) else { return };
        let by_the_library: Vec<_> = CertificateDer::pem_slice_iter(&bundle).filter_map(Result::ok).collect();
        assert_eq!(certificates(&String::from_utf8_lossy(&bundle)).collect::<Vec<_>>(), by_the_library);
        assert!(!by_the_library.is_empty());
    }
}
