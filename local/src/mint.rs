//! `cargo local token`: a bearer token, for the demonstration's issuer or for a directory with a static HS256 key.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;
use shared::domain::directory::ApiKeys;
use shared::domain::scopes::Scopes;
use shared::ports::clock::Clock as _;
use shared::ports::configuration::StaticApiKey;
use shared::secrets::{parse_directory, parse_static_api_key};
use shared::system::SystemClock;

use crate::cli::{Fault, SecretArgs, read};
use crate::demonstration::{AUDIENCE, issuer};
use crate::sign_in::{ApiClaims, mint_api_token};

/// What the token says.
#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    /// The subject
    #[arg(long, default_value = "usr_olivia")]
    sub: String,
    /// The organization
    #[arg(long, default_value = "org_demo")]
    org: String,
    /// The e-mail, as verified
    #[arg(long)]
    email: Option<String>,
    /// Scopes, separated by commas or spaces
    #[arg(long, default_value = "workflow_authorization:*")]
    scopes: String,
    /// How long it lives, in seconds
    #[arg(long, default_value_t = 12 * 3600, value_name = "SECONDS")]
    lifetime: u32,
    /// The address of the stack whose demonstration issuer signs
    #[arg(long, default_value = "127.0.0.1:8787", value_name = "ADDRESS")]
    listen: SocketAddr,
    #[command(flatten)]
    secrets: SecretArgs,
}

/// Prints the token, alone on a line.
pub(crate) fn print(args: &TokenArgs) -> Result<(), Fault> {
    let scopes = Scopes::parse(&args.scopes).map_err(|e| Fault(format!("--scopes: {e}")))?;
    let token = match &args.secrets.directory {
        None => demonstration(args, &scopes)?,
        Some(path) => configured(args, &scopes, &read("--directory", path)?)?,
    };
    writeln!(io::stdout(), "{token}").map_err(|e| Fault(format!("failed to write to standard output: {e}")))
}

fn demonstration(args: &TokenArgs, scopes: &Scopes) -> Result<String, Fault> {
    let claims = ApiClaims {
        issuer: issuer(args.listen),
        audience: AUDIENCE.to_owned(),
        subject: args.sub.clone(),
        organization: Some(args.org.clone()),
        email: args.email.clone(),
        email_verified: true,
        scopes: scopes.iter().map(str::to_owned).collect(),
        lifetime_seconds: args.lifetime,
    };
    mint_api_token(&claims, SystemClock.now()).map_err(|e| Fault::of(&e))
}

/// For a directory of one's own, if its key is a secret that can sign.
fn configured(args: &TokenArgs, scopes: &Scopes, directory: &str) -> Result<String, Fault> {
    let directory = parse_directory(directory, true).map_err(|e| Fault(format!("--directory: {}", e.one_line())))?;
    let tokens = &directory.api_tokens;
    let ApiKeys::Static(id) = &tokens.keys else {
        return Err(Fault("--directory: its API tokens are verified by a JWKS; only their issuer can sign them".to_owned()));
    };
    let secrets = args.secrets.read()?;
    let (_, text) = secrets.iter().find(|(given, _)| given == id).ok_or_else(|| Fault(format!("--secret {id}=FILE is needed to sign")))?;
    let key = Arc::new(parse_static_api_key(text).map_err(|e| Fault(format!("--secret {id}: {}", e.one_line())))?);
    let StaticApiKey::Hmac(secret) = key.as_ref() else {
        return Err(Fault(format!("--secret {id}: a public key cannot sign")));
    };
    let now = SystemClock.now().unix_timestamp();
    let mut claims = json!({
        "iss": tokens.issuer,
        "aud": tokens.audience,
        "sub": args.sub,
        "iat": now,
        "exp": now + i64::from(args.lifetime),
        "scopes": scopes,
    });
    claims[tokens.organization_claim.as_str()] = json!(args.org);
    if let Some(email) = &args.email {
        claims[tokens.email_claim.as_str()] = json!(email);
        claims[tokens.email_verified_claim.as_str()] = json!(true);
    }
    let mut header = Header::new(jsonwebtoken::Algorithm::HS256);
    header.typ = Some(tokens.token_type.clone().unwrap_or_else(|| "JWT".to_owned()));
    jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(secret)).map_err(|e| Fault::of(&e))
}
