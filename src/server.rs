//! The composition root: opens everything, wires it, and runs until it is told to stop.

use std::future::Future;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum_server::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::catalog::Catalog;
use crate::config::{Access, Config, Host, Limits};
use crate::http::{self, AppState, Policy, Shared};
use crate::identity::{Identity, Names};
use crate::ingest::{Ingest, IngestLimits};
use crate::live::Hub;
use crate::metrics::Metrics;
use crate::tls::{self, Gate};
use crate::workdir::{self, Workdir};
use crate::{Error, Kind, Result};

/// Connections at a time where the open-file limit allows it and the configuration says nothing.
const DEFAULT_CONNECTIONS: usize = 4096;
/// Fewer than this are worth a warning.
const FEW_CONNECTIONS: usize = 1024;
/// Open files that are neither connections nor uploads: catalogue, listeners, the runtime's own.
const OTHER_FILES: usize = 64;
/// Most uploads at a time, whatever the open-file limit.
const MAX_UPLOADS: usize = 8192;
/// Attempts to find a port that is free on both loopback addresses.
const PORT_ATTEMPTS: usize = 16;
/// Bytes that are read of a body that nobody wants, so that its sender reads the answer.
const DRAIN_BYTES: u64 = 64 << 20;
/// How long that may take.
const DRAIN_TIME: Duration = Duration::from_secs(30);
/// How often the server's certificate is looked at.
const RENEWAL_CHECK: Duration = Duration::from_secs(12 * 3600);
/// How long a client may take no byte of an answer.
const WRITE_STALL: Duration = Duration::from_secs(120);

/// A server whose listeners are open.
pub struct Server {
    listeners: Vec<Listener>,
    gate: Gate,
    state: AppState,
    workdir: Workdir,
    shutdown: Duration,
}

struct Listener {
    socket: TcpListener,
    /// The host as given, for people and for tools that wait for it.
    shown: String,
}

impl Listener {
    /// Whether it takes connections to this address.
    fn covers(&self, ip: IpAddr) -> bool {
        self.socket.local_addr().is_ok_and(|held| {
            let held = held.ip();
            held == ip || (held.is_unspecified() && held.is_ipv4() == ip.is_ipv4())
        })
    }
}

impl Server {
    /// Opens the working directory and the listeners, and mends what an earlier server left unfinished.
    ///
    /// # Errors
    /// With a message for people: what could not be opened, and why.
    pub async fn bind(config: Config) -> Result<Self> {
        let (connections, uploads) = capacity(config.limits.connections);
        let listeners = listen(&config.hosts, config.port).await?;
        let access = config.access.unwrap_or_else(|| default_access(&listeners));
        let workdir = Workdir::open(config.working_directory.as_deref())?;
        tracing::info!("working directory: {}", workdir.root().display());
        let catalog = Catalog::open(&workdir.catalog_file()?)?;
        let names = Names::new(&config.dns, &server_ips(&config, &listeners));
        let identity = Identity::open(
            workdir.clone(),
            catalog.clone(),
            names.clone(),
            config.device_validity,
        )
        .await?;
        let metrics = Arc::new(Metrics::new());
        let live = Hub::default();
        let ingest = Ingest::open(
            catalog.clone(),
            workdir.clone(),
            live.clone(),
            Arc::clone(&metrics),
            ingest_limits(&config.limits, uploads),
        )
        .await?;
        let policy = Policy {
            access,
            strict_mode: config.strict_mode,
            admin_token: workdir::admin_token(&workdir)?,
        };
        let gate = open_gate(&identity, &config.limits, connections, Arc::clone(&metrics))?;
        match access {
            Access::Open => tracing::warn!(
                "--access open: everybody who can reach this server may read, change and delete everything"
            ),
            Access::Local | Access::Closed => tracing::info!("access: {}", access.as_str()),
        }
        let state = AppState::new(Shared {
            catalog,
            workdir: workdir.clone(),
            identity,
            ingest,
            live,
            metrics,
            policy: arc_swap::ArcSwap::from_pointee(policy),
            names,
            body_timeout: config.limits.body,
        });
        Ok(Self {
            listeners,
            gate,
            state,
            workdir,
            shutdown: config.limits.shutdown,
        })
    }

    /// The addresses it listens on.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.listeners
            .iter()
            .filter_map(|listener| listener.socket.local_addr().ok())
            .collect()
    }

    /// Accepts connections until `stop` is done, then lets running requests end for a while.
    ///
    /// # Errors
    /// When a listener fails.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<()> {
        let router = http::router(self.state.clone());
        let mut serving = JoinSet::new();
        let mut handles: Vec<Handle<SocketAddr>> = Vec::new();
        for listener in self.listeners {
            let handle = Handle::new();
            handles.push(handle.clone());
            let port = listener
                .socket
                .local_addr()
                .map_or(0, |address| address.port());
            let (gate, router) = (self.gate.clone(), router.clone());
            serving.spawn(async move { gate.serve(listener.socket, router, handle).await });
            // Tools wait for these words, whatever is logged. Some close the pipe behind them.
            let _ = writeln!(
                std::io::stderr(),
                "Running on https://{}:{port} (CTRL + C to quit)",
                listener.shown
            );
        }
        let failed = tokio::select! {
            () = stop => None,
            () = keep_certificate_fresh(&self.state.identity, &self.gate) => None,
            Some(ended) = serving.join_next() => Some(match ended {
                Ok(Ok(())) => Error::new(Kind::Internal, "a listener ended"),
                Ok(Err(e)) => Error::internal("a listener failed", e),
                Err(e) => Error::internal("a listener's task failed", e),
            }),
        };
        tracing::info!(
            "stopping: running requests may end within {} s",
            self.shutdown.as_secs_f32()
        );
        self.gate.stop();
        for handle in &handles {
            handle.graceful_shutdown(Some(self.shutdown));
        }
        self.state.ingest.drain(self.shutdown).await;
        let ended = async { while serving.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(self.shutdown + Duration::from_secs(5), ended).await;
        self.state.catalog.close();
        self.workdir.remove_temporary();
        tracing::info!("stopped");
        failed.map_or(Ok(()), Err)
    }
}

/// SIGINT and SIGTERM: the first asks the server to stop, the second ends the process at once.
pub struct Signals {
    first: oneshot::Receiver<()>,
    /// Its directory, when it is a temporary one, must not outlive a process that is ended at once.
    workdir: Arc<OnceLock<Workdir>>,
}

impl Signals {
    /// From now on signals are taken.
    ///
    /// # Errors
    /// When signals cannot be received.
    pub fn listen() -> Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let failed = |e| Error::internal("cannot receive signals", e);
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let (told, first) = oneshot::channel();
        let workdir = Arc::new(OnceLock::<Workdir>::new());
        let left = Arc::clone(&workdir);
        tokio::spawn(async move {
            let mut told = Some(told);
            loop {
                let code = tokio::select! {
                    _ = interrupt.recv() => 130,
                    _ = terminate.recv() => 143,
                };
                match told.take() {
                    Some(told) => drop(told.send(())),
                    None => {
                        if let Some(workdir) = left.get() {
                            workdir.remove_temporary();
                        }
                        std::process::exit(code)
                    }
                }
            }
        });
        Ok(Self { first, workdir })
    }

    /// Runs the server until the first signal.
    ///
    /// # Errors
    /// As [`Server::run`].
    pub async fn run(self, server: Server) -> Result<()> {
        let _ = self.workdir.set(server.workdir.clone());
        let first = self.first;
        let stop = async {
            let _ = first.await;
        };
        server.run(stop).await
    }
}

/// Raises the open-file limit; connections and uploads at a time that it leaves room for.
fn capacity(wanted: Option<usize>) -> (usize, usize) {
    let files = raise_file_limit().saturating_sub(OTHER_FILES);
    let most = (files / 3).max(4);
    let connections = wanted.unwrap_or(DEFAULT_CONNECTIONS).min(most);
    let wished = wanted.unwrap_or(FEW_CONNECTIONS);
    if connections < wished {
        tracing::warn!(
            "the open-file limit allows {connections} connections at a time; raise it with ulimit -n"
        );
    }
    (
        connections,
        (files.saturating_sub(connections) / 2).clamp(4, MAX_UPLOADS),
    )
}

fn raise_file_limit() -> usize {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = rustix::process::Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            limit = raised;
        }
    }
    limit.current.map_or(usize::MAX, |files| {
        usize::try_from(files).unwrap_or(usize::MAX)
    })
}

async fn listen(hosts: &[Host], port: u16) -> Result<Vec<Listener>> {
    let mut listeners: Vec<Listener> = Vec::new();
    let mut port = port;
    for host in hosts {
        let opened = match host {
            Host::Localhost if listeners.is_empty() => listen_on_localhost(port)?,
            Host::Localhost => listen_on_localhost_too(port, &listeners).await?,
            Host::Named(name) => listen_on_name(name, port, &listeners).await?,
        };
        // All hosts share the port that the first one was given.
        if let Some(address) = opened
            .first()
            .and_then(|first| first.socket.local_addr().ok())
        {
            port = address.port();
        }
        listeners.extend(opened);
    }
    Ok(listeners)
}

fn listen_on_localhost(port: u16) -> Result<Vec<Listener>> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        let first = open_listener(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        let chosen = first
            .local_addr()
            .map_err(|e| Error::internal("cannot ask for the port", e))?
            .port();
        let mut listeners = vec![Listener {
            socket: first,
            shown: Ipv4Addr::LOCALHOST.to_string(),
        }];
        match open_listener(SocketAddr::from((Ipv6Addr::LOCALHOST, chosen))) {
            Ok(second) => listeners.push(Listener {
                socket: second,
                shown: "[::1]".to_owned(),
            }),
            Err(e) if e.kind() == Kind::Conflict => {
                if port == 0 && attempts < PORT_ATTEMPTS {
                    continue;
                }
                return Err(e);
            }
            Err(e) => tracing::info!("not listening on ::1: {}", e.chain()),
        }
        return Ok(listeners);
    }
}

/// Localhost as one host of several: the port is settled, and other hosts may be localhost themselves.
async fn listen_on_localhost_too(port: u16, held: &[Listener]) -> Result<Vec<Listener>> {
    let mut listeners = listen_on_name("127.0.0.1", port, held).await?;
    match listen_on_name("::1", port, held).await {
        Ok(second) => listeners.extend(second),
        Err(e) if e.kind() == Kind::Conflict => return Err(e),
        Err(e) => tracing::info!("not listening on ::1: {}", e.chain()),
    }
    Ok(listeners)
}

/// None where `held` has all addresses of the name already.
async fn listen_on_name(name: &str, port: u16, held: &[Listener]) -> Result<Vec<Listener>> {
    let resolved: Vec<SocketAddr> = match name.parse::<IpAddr>() {
        Ok(ip) => vec![SocketAddr::from((ip, port))],
        Err(_) => tokio::net::lookup_host((name, port))
            .await
            .map_err(|e| Error::internal(format!("cannot resolve --host {name}"), e))?
            .collect(),
    };
    if resolved.is_empty() {
        return Err(Error::new(
            Kind::NotFound,
            format!("--host {name} has no address"),
        ));
    }
    let mut listeners: Vec<Listener> = Vec::new();
    let mut port = port;
    for mut address in resolved {
        address.set_port(port);
        if held
            .iter()
            .chain(&listeners)
            .any(|listener| listener.covers(address.ip()))
        {
            continue;
        }
        let socket = open_listener(address)?;
        port = socket.local_addr().map_or(port, |address| address.port());
        let shown = match name.parse() {
            Ok(IpAddr::V6(ip)) => format!("[{ip}]"),
            _ => name.to_owned(),
        };
        listeners.push(Listener { socket, shown });
    }
    Ok(listeners)
}

fn open_listener(address: SocketAddr) -> Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let open = || -> std::io::Result<TcpListener> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        // Hundreds of cameras may come back at the same moment.
        socket.listen(4096)?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    };
    open().map_err(|e| match e.kind() {
        std::io::ErrorKind::AddrInUse => Error::new(
            Kind::Conflict,
            format!("cannot listen on {address}: the port is in use; choose another with --port"),
        ),
        _ => Error::internal(format!("cannot listen on {address}"), e),
    })
}

/// Requests from this machine may only be trusted where nobody else can reach the server.
fn default_access(listeners: &[Listener]) -> Access {
    let loopback = listeners.iter().all(|listener| {
        listener
            .socket
            .local_addr()
            .is_ok_and(|address| address.ip().is_loopback())
    });
    if loopback {
        Access::Local
    } else {
        Access::Closed
    }
}

/// The addresses for the server's certificate: those that were named, and those it listens on.
fn server_ips(config: &Config, listeners: &[Listener]) -> Vec<IpAddr> {
    let listened = listeners
        .iter()
        .filter_map(|listener| listener.socket.local_addr().ok());
    let listened = listened
        .map(|address| address.ip())
        .filter(|ip| !ip.is_unspecified());
    config.server_ips.iter().copied().chain(listened).collect()
}

fn ingest_limits(limits: &Limits, uploads: usize) -> IngestLimits {
    IngestLimits {
        body: limits.body,
        chunked_body: limits.chunked_body,
        object_size: limits.object_size,
        manifest_size: limits.manifest_size,
        free_disk: limits.free_disk,
        uploads,
    }
}

/// Renews the server's certificate long before it ends, without a restart. Never done.
async fn keep_certificate_fresh(identity: &Identity, gate: &Gate) {
    loop {
        tokio::time::sleep(RENEWAL_CHECK).await;
        let renewed = match identity.renew_server().await {
            Ok(false) => continue,
            Ok(true) => identity.server_material(),
            Err(e) => Err(e),
        };
        let swapped = renewed.and_then(|(chain, key)| {
            gate.swap(material(identity, &chain, &key))
                .map_err(|e| Error::internal("cannot use the new server certificate", e))
        });
        if let Err(e) = swapped {
            tracing::error!(error = %e.chain(), "the server certificate could not be renewed");
        }
    }
}

fn material<'m>(identity: &'m Identity, chain: &'m str, key: &'m str) -> tls::Identity<'m> {
    tls::Identity {
        chain_pem: chain.as_bytes(),
        key_pem: key.as_bytes(),
        device_roots_pem: identity.device_root().as_bytes(),
    }
}

fn open_gate(
    identity: &Identity,
    limits: &Limits,
    connections: usize,
    metrics: Arc<Metrics>,
) -> Result<Gate> {
    let (chain, key) = identity.server_material()?;
    let limits = tls::Limits {
        max_connections: connections,
        handshake: limits.handshake,
        header: limits.header,
        keep_alive: limits.keep_alive,
        write_stall: WRITE_STALL,
        drain: tls::drain::Budget {
            bytes: DRAIN_BYTES,
            time: DRAIN_TIME,
        },
    };
    Gate::new(
        material(identity, &chain, &key),
        limits,
        Arc::new(Watcher(metrics)),
    )
    .map_err(|e| Error::internal("cannot use the server's certificates", e))
}

/// Counts connections, and says why one was refused.
struct Watcher(Arc<Metrics>);

impl tls::Observer for Watcher {
    fn opened(&self, connection: &tls::Connection) {
        self.0.connection_opened();
        tracing::debug!(
            connection = connection.id,
            remote = %connection.remote,
            local = %connection.local,
            sni = connection.sni.as_deref(),
            "connection opened"
        );
    }

    fn closed(&self, connection: &tls::Connection) {
        self.0.connection_closed();
        tracing::debug!(connection = connection.id, remote = %connection.remote, "connection closed");
    }

    fn refused(&self, refusal: &tls::Refusal) {
        self.0.connection_refused(refusal.kind.as_str());
        match refusal.kind {
            // Port scans and health checks open connections and say nothing.
            tls::RefusalKind::Io | tls::RefusalKind::Timeout => {
                tracing::debug!(remote = %refusal.remote, "connection refused: {}", refusal.reason);
            }
            _ => tracing::warn!(remote = %refusal.remote, "connection refused: {}", refusal.reason),
        }
    }
}
