//! From nothing to a camera with a certificate and a stream, over the server's own API.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Method;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use percent_encoding::utf8_percent_encode;
use serde_json::Value;

use super::upload::detail;
use super::wire::{Answer, Head, Http, Line, Link, Server};
use crate::names::IN_URL;
use crate::names::Interface;
use crate::pki;
use crate::tls::client::{Connector, Offer, Trust};
use crate::{Error, Kind, Result};

/// How long one question may take.
const LIMIT: Duration = Duration::from_secs(15);

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub(super) struct Identity {
    pub(super) certificate: String,
    pub(super) key: String,
}

/// A server that is asked to take a camera in.
pub(super) struct Registrar {
    server: Server,
    /// The roots that are believed, in PEM.
    roots: Vec<u8>,
    token: Option<HeaderValue>,
}

impl Registrar {
    /// Without `roots` the server is asked for its root, and what it says is believed; `warn` is told so.
    ///
    /// # Errors
    /// The server cannot be reached; or a token would be sent to somebody who has not been verified.
    pub(super) async fn new(
        server: Server,
        roots: Option<Vec<u8>>,
        token: Option<HeaderValue>,
        warn: impl Fn(&str),
    ) -> Result<Self> {
        let roots = match roots {
            Some(roots) => roots,
            None if token.is_some() && !server.is_loopback() => {
                return Err(Error::new(
                    Kind::Invalid,
                    "a token is only sent to a server that is verified: give its root certificate with --cacert",
                ));
            }
            None => {
                let root = ask_for_root(&server).await?;
                let told = pki::describe_cert(&root)
                    .map_err(|e| Error::new(Kind::Invalid, e.to_string()))?;
                warn(&format!(
                    "nobody vouches for {}: its root certificate is believed from now on, SHA-256 {}; with --cacert it would be verified",
                    server.base(),
                    told.fingerprint_sha256
                ));
                root
            }
        };
        Ok(Self {
            server,
            roots,
            token,
        })
    }

    /// The roots that are believed, in PEM.
    pub(super) fn roots(&self) -> &[u8] {
        &self.roots
    }

    /// Makes a key, and has a certificate made for it.
    ///
    /// # Errors
    /// The server does not want to, and why.
    pub(super) async fn enroll(&self, name: &str) -> Result<Identity> {
        let (key, request) =
            pki::request(name).map_err(|e| Error::new(Kind::Invalid, e.to_string()))?;
        let path = format!("/certs/{}/sign", utf8_percent_encode(name, IN_URL));
        let body = serde_json::json!({ "csr": request }).to_string();
        let answer = self.ask(None, Method::POST, path, body).await?;
        let certificate = answer.get("certificate").and_then(Value::as_str);
        let certificate = certificate.ok_or_else(|| {
            Error::new(Kind::Unsupported, "the server signs requests, but does not send the certificate: this is no pavs; make a certificate there, and give it with --cert and --key")
        })?;
        Ok(Identity {
            certificate: certificate.to_owned(),
            key,
        })
    }

    /// Opens a stream; the owner of the certificate is its owner. Gives its path.
    ///
    /// # Errors
    /// As [`Registrar::enroll`].
    pub(super) async fn open_stream(
        &self,
        identity: &Identity,
        interface: Interface,
    ) -> Result<String> {
        let path = format!("/streams?interface={}", interface.as_str());
        let answer = self
            .ask(Some(identity), Method::POST, path, "{}".to_owned())
            .await?;
        let id = answer.get("id").and_then(Value::as_u64);
        id.map(|id| format!("/streams/{id}")).ok_or_else(|| {
            Error::new(
                Kind::Unsupported,
                "the server opened a stream, but does not say its number",
            )
        })
    }

    /// One request. With an identity, it is the device that asks, else the holder of the token.
    async fn ask(
        &self,
        identity: Option<&Identity>,
        method: Method,
        path: String,
        body: String,
    ) -> Result<Value> {
        let shown = identity.map(|shown| (shown.certificate.as_bytes(), shown.key.as_bytes()));
        let connector = Connector::new(Trust::Roots(&self.roots), shown, Offer::Both);
        let connector = connector.map_err(|e| Error::new(Kind::Invalid, e))?;
        let mut fields = vec![(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        if identity.is_none() {
            fields.extend(self.token.clone().map(|token| (AUTHORIZATION, token)));
        }
        let head = Head {
            method,
            path,
            fields,
        };
        let answer = ask(&self.server, connector, &head, body.into()).await?;
        if answer.status.is_success() {
            return serde_json::from_slice(&answer.body).map_err(|e| {
                Error::new(
                    Kind::Unsupported,
                    format!(
                        "{}{} did not answer with JSON",
                        self.server.base(),
                        head.path
                    ),
                )
                .because(e)
            });
        }
        let hint = match (answer.status.as_u16(), &self.token) {
            (401 | 403, None) => {
                "; give a token with --token or PAVS_TOKEN, and the server's root with --cacert"
            }
            _ => "",
        };
        Err(Error::new(
            Kind::Forbidden,
            format!(
                "{}{}: {}{hint}",
                self.server.base(),
                head.path,
                detail(answer.status, &answer.body)
            ),
        ))
    }
}

/// `GET /certs/server/root.pem`, from whoever answers.
async fn ask_for_root(server: &Server) -> Result<Vec<u8>> {
    let connector = Connector::new(Trust::Nobody, None, Offer::Both);
    let connector = connector.map_err(|e| Error::new(Kind::Internal, e))?;
    let head = Head {
        method: Method::GET,
        path: "/certs/server/root.pem?format=pem".to_owned(),
        fields: Vec::new(),
    };
    let answer = ask(server, connector, &head, Bytes::new()).await?;
    if !answer.status.is_success() {
        let why = detail(answer.status, &answer.body);
        return Err(Error::new(
            Kind::Unsupported,
            format!(
                "{} does not tell its root certificate ({why}): give it with --cacert",
                server.base()
            ),
        ));
    }
    Ok(answer.body.to_vec())
}

async fn ask(server: &Server, connector: Connector, head: &Head, body: Bytes) -> Result<Answer> {
    let line = Line {
        server: server.clone(),
        connector,
        http: Http::Any,
        once: true,
        connect_timeout: LIMIT,
    };
    let mut link = Link::new(Arc::new(line));
    let whole = || {
        Full::new(body.clone())
            .map_err(|e| match e {})
            .boxed_unsync()
    };
    link.send(head, whole, LIMIT)
        .await
        .map_err(|e| Error::new(Kind::Disconnected, format!("{}: {e}", server.base())))
}
