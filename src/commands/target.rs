//! What commands speak to: the server that runs in a working directory, or the directory itself.
//!
//! A command is a client of `/api/v1` either way. Where a server holds the directory, the request goes
//! to it over HTTPS, as the admin; where none does, the command takes the directory's lock and hands the
//! same request to the same routes in this process. So there are never two writers, and nothing is
//! done in two ways.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use axum::body::Body;
use clap::Args;
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use crate::server::Offline;
use crate::tls::{self, Connection, Peer};
use crate::workdir;
use crate::{Error, Kind, Result};

/// For how long a directory may be held by somebody who has not said (yet) how to reach him.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at it.
const PAUSE: Duration = Duration::from_millis(50);
/// Longest time to an answer.
const ANSWER: Duration = Duration::from_secs(60);
/// Largest answer that is read.
const MAX_ANSWER: usize = 64 << 20;
/// Entries of a page that is asked for.
const PAGE: usize = 1000;

/// The argument that says which directory is meant.
#[derive(Args, Debug)]
pub(super) struct Directory {
    /// Working directory of the server, which may be running or not
    #[arg(long, env = "PAVS_WORKING_DIRECTORY", value_name = "DIR")]
    working_directory: PathBuf,
}

impl Directory {
    /// Runs `work` on the directory's server, and says how it ended.
    pub(super) fn run<F>(&self, work: F) -> ExitCode
    where
        F: AsyncFnOnce(&Target) -> Result<()>,
    {
        let ended = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|e| Error::internal("cannot start", e))
            .and_then(|runtime| {
                runtime.block_on(async {
                    let target = Target::open(&self.working_directory).await?;
                    let ended = work(&target).await;
                    target.close();
                    ended
                })
            });
        match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(e) => {
                eprintln!("error: {}", e.chain().replace('\n', " "));
                ExitCode::FAILURE
            }
        }
    }
}

/// Where the requests of a command go.
pub(super) struct Target {
    token: String,
    way: Way,
}

enum Way {
    Running {
        url: String,
        client: reqwest::Client,
    },
    Here {
        offline: Box<Offline>,
        router: axum::Router,
    },
}

impl Target {
    /// Finds the directory's server, or takes its place.
    async fn open(dir: &Path) -> Result<Self> {
        if !workdir::is_working_directory(dir) {
            return Err(Error::new(
                Kind::NotFound,
                format!(
                    "{} is no working directory of pavs: name the one that pavs serve was started with",
                    dir.display()
                ),
            ));
        }
        let began = Instant::now();
        loop {
            let held = match Offline::open(dir).await {
                Ok(offline) => return Ok(Self::here(offline)),
                Err(e) if e.kind() == Kind::Conflict => e,
                Err(e) => return Err(e),
            };
            if let Some(announced) = workdir::announced(dir)? {
                return Self::running(announced);
            }
            // A server that starts or stops, or another command.
            if began.elapsed() > PATIENCE {
                return Err(held);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn here(offline: Offline) -> Self {
        Self {
            token: offline.token(),
            way: Way::Here {
                router: offline.router(),
                offline: Box::new(offline),
            },
        }
    }

    fn running(announced: workdir::Announced) -> Result<Self> {
        let unusable = |e: Box<dyn std::error::Error + Send + Sync>| {
            Error::new(
                Kind::Internal,
                format!("cannot speak to the server at {}", announced.url),
            )
            .because(e)
        };
        let tls = tls::client(announced.certificate.as_bytes()).map_err(|e| unusable(e.into()))?;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(ANSWER)
            .build()
            .map_err(|e| unusable(e.into()))?;
        Ok(Self {
            token: announced.token,
            way: Way::Running {
                url: announced.url,
                client,
            },
        })
    }

    /// Sends a request and gives its answer; an answer without body is null.
    ///
    /// # Errors
    /// What the server said was wrong, or that there was no answer.
    pub(super) async fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value> {
        let body = body.map(ToString::to_string);
        let (status, bytes) = match &self.way {
            Way::Running { url, client } => {
                let lost =
                    |e| Error::new(Kind::Disconnected, format!("no answer from {url}")).because(e);
                let method = method
                    .parse()
                    .map_err(|e| Error::internal("no method of HTTP", e))?;
                let mut request = client
                    .request(method, format!("{url}{path}"))
                    .bearer_auth(&self.token);
                if let Some(body) = body {
                    request = request.body(body);
                }
                let answer = request.send().await.map_err(lost)?;
                (
                    answer.status().as_u16(),
                    answer.bytes().await.map_err(lost)?,
                )
            }
            Way::Here { router, .. } => {
                let request = axum::http::Request::builder()
                    .method(method)
                    .uri(path)
                    .header("host", "localhost")
                    .header("authorization", format!("Bearer {}", self.token))
                    .extension(nobody())
                    .body(body.map_or_else(Body::empty, Body::from))
                    .map_err(|e| Error::internal("no request can be made of this", e))?;
                let Ok(answer) = router.clone().oneshot(request).await;
                let status = answer.status().as_u16();
                let whole = http_body_util::Limited::new(answer.into_body(), MAX_ANSWER).collect();
                let bytes = whole
                    .await
                    .map_err(|e| Error::internal("the answer cannot be read", e))?;
                (status, bytes.to_bytes())
            }
        };
        if bytes.is_empty() && (200..300).contains(&status) {
            return Ok(Value::Null);
        }
        let answer: Value = serde_json::from_slice(&bytes)
            .map_err(|e| Error::internal(format!("the answer {status} cannot be read"), e))?;
        if (200..300).contains(&status) {
            return Ok(answer);
        }
        let detail = answer.get("detail").and_then(Value::as_str);
        let kind = match status {
            404 => Kind::NotFound,
            409 => Kind::Conflict,
            _ => Kind::Invalid,
        };
        Err(Error::new(
            kind,
            detail.map_or_else(|| format!("the answer is {status}"), ToOwned::to_owned),
        ))
    }

    /// All pages of the list under `key`.
    pub(super) async fn all(&self, path: &str, key: &str) -> Result<Vec<Value>> {
        let mut all = Vec::new();
        let mut after = String::new();
        loop {
            let page = format!("{path}?limit={PAGE}{after}");
            let mut answer = self.send("GET", &page, None).await?;
            if let Some(Value::Array(rows)) = answer.get_mut(key).map(Value::take) {
                all.extend(rows);
            }
            after = match answer.get("next") {
                Some(Value::String(next)) => format!("&after={}", encoded(next)),
                Some(Value::Number(next)) => format!("&after={next}"),
                _ => return Ok(all),
            };
        }
    }

    /// Address of the server, where one runs.
    pub(super) fn url(&self) -> Option<&str> {
        match &self.way {
            Way::Running { url, .. } => Some(url),
            Way::Here { .. } => None,
        }
    }

    fn close(self) {
        if let Way::Here { offline, .. } = self.way {
            offline.close();
        }
    }
}

/// A text as one segment of a path, or a value of a query.
pub(super) fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, crate::names::IN_URL).to_string()
}

/// The connection of a request that came over none.
fn nobody() -> Connection {
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Connection {
        id: 0,
        remote: here,
        local: here,
        peer: Peer::Anonymous,
        sni: None,
        tls_version: "none",
        cipher: "none".into(),
    }
}
