//! `token mint`: asks an STS for a mandate (RFC 6749 §4.4) and prints it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use backends::tls::{ClientTls, TlsError, http_client_config};
use config::{Env, ProcessEnv};
use http::header::{ACCEPT, CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use rustls_pki_types::ServerName;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::{Host, Url, form_urlencoded};

use super::request::{self, Answer};
use super::shared::{UNEXPECTED, complain, print};
use crate::cli::MintArgs;
use crate::process::OK;

/// The variable that holds the client secret when no file is named.
const SECRET: &str = "CARACAL_CLIENT_SECRET";
/// How long the STS has for everything.
const STS_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Why there is no mandate.
#[derive(Debug, thiserror::Error)]
enum MintError {
    #[error("--sts-url must look like https://sts.example")]
    Url,
    #[error("--sts-url: plain http is for loopback only; use https")]
    PlainText,
    #[error("no client secret: name a file with --client-secret-file, or set {SECRET}")]
    NoSecret,
    #[error("--client-secret-file: {0}")]
    SecretFile(io::Error),
    #[error("{SECRET} is not valid UTF-8")]
    SecretText,
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    #[error("cannot connect to {to}: {error}")]
    Connect { to: String, error: io::Error },
    #[error("no answer from the STS: {0}")]
    Http(#[from] hyper::Error),
    #[error("the STS did not answer within {} s", STS_TIMEOUT.as_secs())]
    Timeout,
    #[error("the STS refused: {status} {words}")]
    Refused { status: StatusCode, words: String },
    #[error("the STS answered {0} without a token; does --sts-url point at an STS?")]
    NotAToken(StatusCode),
}

pub(super) async fn mint(arguments: &MintArgs) -> i32 {
    let minted = match tokio::time::timeout(STS_TIMEOUT, minted(arguments, &ProcessEnv)).await {
        Ok(minted) => minted,
        Err(_elapsed) => Err(MintError::Timeout),
    };
    match minted {
        Ok(mandate) if print(&format!("{mandate}\n")).is_ok() => OK,
        Ok(_) => UNEXPECTED,
        Err(error) => {
            complain(format_args!("token mint: {error}"));
            UNEXPECTED
        }
    }
}

#[derive(Deserialize)]
struct Token {
    access_token: String,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    #[serde(default)]
    error_description: String,
}

async fn minted(arguments: &MintArgs, env: &dyn Env) -> Result<String, MintError> {
    let sts = Sts::parse(&arguments.sts_url)?;
    let secret = secret(arguments.client_secret_file.as_deref(), env)?;
    let answer = sts.post(form(arguments, &secret)).await?;
    let status = answer.head.status;
    let body = answer.rest(MAX_ANSWER_BYTES).await.bytes;
    if status == StatusCode::OK {
        let token: Token = serde_json::from_slice(&body).map_err(|_| MintError::NotAToken(status))?;
        return printable(&token.access_token)
            .then_some(token.access_token)
            .ok_or(MintError::NotAToken(status));
    }
    let Ok(refusal) = serde_json::from_slice::<Refusal>(&body) else {
        return Err(MintError::NotAToken(status));
    };
    let words = format!("{}: {}", refusal.error, refusal.error_description);
    // A terminal obeys control characters.
    Err(MintError::Refused {
        status,
        words: words.chars().filter(|c| !c.is_control()).collect(),
    })
}

fn printable(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The first of the file and the environment that was given.
fn secret(file: Option<&Path>, env: &dyn Env) -> Result<String, MintError> {
    let text = match file {
        Some(path) => std::fs::read_to_string(path).map_err(MintError::SecretFile)?,
        None => env
            .get(SECRET)
            .unwrap_or_default()
            .into_string()
            .map_err(|_| MintError::SecretText)?,
    };
    let secret = text.trim_end();
    if secret.is_empty() {
        Err(MintError::NoSecret)
    } else {
        Ok(secret.to_owned())
    }
}

fn form(arguments: &MintArgs, secret: &str) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials")
        .append_pair("client_id", &arguments.client_id)
        .append_pair("client_secret", secret)
        .append_pair("resource", &arguments.resource)
        .append_pair("use", arguments.mandate_use.name())
        .append_pair("ttl_seconds", &arguments.ttl.to_string());
    if let Some(zone) = &arguments.zone {
        form.append_pair("zone_id", zone);
    }
    form.finish()
}

/// Where to post.
#[derive(Debug)]
struct Sts {
    host: String,
    port: u16,
    /// The name that the certificate must hold; plain HTTP without one.
    name: Option<ServerName<'static>>,
    authority: String,
    path: String,
}

impl Sts {
    fn parse(text: &str) -> Result<Self, MintError> {
        let url = Url::parse(text).map_err(|_| MintError::Url)?;
        let plain = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        let (Some(host), Some(port), true) = (url.host(), url.port_or_known_default(), plain) else {
            return Err(MintError::Url);
        };
        let bare = host.to_string().trim_matches(['[', ']']).to_owned();
        let name = match url.scheme() {
            "https" => Some(ServerName::try_from(bare.clone()).map_err(|_| MintError::Url)?),
            "http" if is_loopback(&host) => None,
            "http" => return Err(MintError::PlainText),
            _ => return Err(MintError::Url),
        };
        Ok(Self {
            host: bare,
            port,
            name,
            authority: url.authority().to_owned(),
            path: format!("{}/oauth/2/token", url.path().trim_end_matches('/')),
        })
    }

    async fn post(&self, form: String) -> Result<Answer, MintError> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.path)
            .header(HOST, &self.authority)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(bytes::Bytes::from(form)))
            .map_err(|_| MintError::Url)?;
        let failed = |error| MintError::Connect {
            to: self.authority.clone(),
            error,
        };
        let stream = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .map_err(failed)?;
        let Some(name) = &self.name else {
            // A name such as `localhost` is what the resolver makes of it.
            let peer = stream.peer_addr().map_err(failed)?.ip().to_canonical();
            if !peer.is_loopback() {
                return Err(MintError::PlainText);
            }
            return Ok(request::send(stream, request).await?);
        };
        let tls = TlsConnector::from(Arc::new(http_client_config(&ClientTls::default())?));
        let stream = tls.connect(name.clone(), stream).await.map_err(failed)?;
        Ok(request::send(stream, request).await?)
    }
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
        Host::Domain(name) => *name == "localhost",
    }
}

#[cfg(test)]
mod tests;
