//! The composition root: opens everything, wires it, and runs until it is told to stop.

use std::future::Future;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum_server::Handle;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinSet;

use crate::catalog::{Catalog, KeptLimits};
use crate::clock::Timestamp;
use crate::config::{Access, Config, Host, Limits, Options};
use crate::http::{self, AppState, Policy, Shared};
use crate::identity::{Identity, Names, Presented, Settings, Spoken};
use crate::ingest::{Ingest, IngestLimits};
use crate::live::Hub;
use crate::mdns::{self, Advertisement};
use crate::metrics::Metrics;
use crate::refusals::Refusals;
use crate::tls::{self, Gate};
use crate::workdir::{self, Workdir};
use crate::{Error, Kind, Result, adopt};

/// Connections at a time where the open-file limit allows it and the configuration says nothing.
const DEFAULT_CONNECTIONS: usize = 4096;
/// Fewer than this are worth a warning.
const FEW_CONNECTIONS: usize = 1024;
/// Open files that are neither connections nor uploads: catalogue, listeners, the runtime's own.
const OTHER_FILES: usize = 64;
/// Most uploads at a time, whatever the open-file limit.
const MAX_UPLOADS: usize = 8192;
/// Bytes that are kept for one stream of uploads that no path serves.
const KEPT_BYTES: u64 = 1 << 30;
/// And as many uploads.
const KEPT_UPLOADS: i64 = 1000;
/// Attempts to find a port that is free on both loopback addresses.
const PORT_ATTEMPTS: usize = 16;
/// Bytes that are read of a body that nobody wants, so that its sender reads the answer.
const DRAIN_BYTES: u64 = 64 << 20;
/// How long that may take.
const DRAIN_TIME: Duration = Duration::from_secs(30);
/// How long until the server's certificates are looked at again when that went wrong.
const REFRESH_AGAIN: Duration = Duration::from_secs(60);
/// How often certificates that end soon are looked for.
const ENDS_CHECK: Duration = Duration::from_secs(24 * 3600);
/// How often open connections are looked through for certificates that are not taken any more. Each
/// request is looked at besides.
const BARRING_CHECK: Duration = Duration::from_secs(5);
/// How often it is written down when devices were last here.
const SEEN_WRITTEN: Duration = Duration::from_secs(5);
/// How long a client may take no byte of an answer.
const WRITE_STALL: Duration = Duration::from_secs(120);

/// A server whose listeners are open.
pub struct Server {
    listeners: Vec<Listener>,
    gate: Gate,
    state: AppState,
    workdir: Workdir,
    /// Names to advertise.
    dns: Vec<String>,
    shutdown: Duration,
}

struct Listener {
    socket: TcpListener,
    /// The host as given, for people and for tools that wait for it.
    shown: String,
}

impl Listener {
    /// How it is reached from this machine.
    fn url(&self) -> Option<String> {
        let mut address = self.socket.local_addr().ok()?;
        match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        Some(format!("https://{address}"))
    }

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
        let advertised = config
            .dns
            .iter()
            .filter_map(|name| mdns::service_name(name));
        let dns: Vec<String> = config.dns.iter().cloned().chain(advertised).collect();
        let names = Names::new(&dns, &server_ips(&config, &listeners));
        let state = open_state(&config, access, names, uploads).await?;
        let gate = open_gate(
            &state.identity,
            &config.limits,
            connections,
            Arc::clone(&state.metrics),
            state.refusals.clone(),
        )?;
        match access {
            Access::Open => tracing::warn!(
                "--access open: everybody who can reach this server may read, change and delete everything"
            ),
            Access::Local | Access::Closed => tracing::info!("access: {}", access.as_str()),
        }
        for fault in config.faults.written() {
            tracing::warn!("FAULTS ARE ON: uploads meet --fault {fault}");
        }
        if let Some(url) = listeners.first().and_then(Listener::url) {
            state.workdir.announce(&url)?;
        }
        Ok(Self {
            listeners,
            gate,
            workdir: state.workdir.clone(),
            state,
            dns: config.dns,
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
        let addresses = self.local_addrs();
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
        let advertisement = Advertisement::begin(&self.dns, &addresses);
        let failed = tokio::select! {
            () = stop => None,
            () = keep_identity_fresh(&self.state.identity) => None,
            () = watch_ends(&self.state.identity) => None,
            () = cut_barred(&self.state.identity, &self.gate) => None,
            () = keep_seen(&self.state) => None,
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
        let withdrawing =
            tokio::task::spawn_blocking(|| advertisement.map(Advertisement::withdraw));
        self.workdir.withdraw_announcement();
        self.gate.stop();
        self.state.stopping.send_replace(true);
        for handle in &handles {
            handle.graceful_shutdown(Some(self.shutdown));
        }
        self.state.ingest.drain(self.shutdown).await;
        let ended = async {
            while serving.join_next().await.is_some() {}
            let _ = withdrawing.await;
        };
        let _ = tokio::time::timeout(self.shutdown + Duration::from_secs(5), ended).await;
        write_seen(&self.state).await;
        self.state.refusals.finish().await;
        self.state.catalog.close();
        self.workdir.remove_temporary();
        tracing::info!("stopped");
        failed.map_or(Ok(()), Err)
    }
}

/// The server of a directory at rest, without listeners: for commands, which are clients of its routes.
pub(crate) struct Offline {
    state: AppState,
}

impl Offline {
    /// Takes the directory's lock and opens what is in it.
    ///
    /// # Errors
    /// [`Kind::Conflict`] when a server uses the directory.
    pub(crate) async fn open(dir: &std::path::Path) -> Result<Self> {
        let options = Options {
            working_directory: Some(dir.to_owned()),
            ..Options::default()
        };
        let config = Config::resolve(options).map_err(|e| Error::new(Kind::Internal, e))?;
        let names = Names::new(&config.dns, &config.server_ips);
        let state = open_state(&config, Access::Closed, names, 1).await?;
        Ok(Self { state })
    }

    /// Its routes. Each request needs a [`tls::Connection`] among its extensions.
    pub(crate) fn router(&self) -> axum::Router {
        http::router(self.state.clone())
    }

    /// The admin's token.
    pub(crate) fn token(&self) -> String {
        self.state.policy.load().admin_token.clone()
    }

    /// Waits until everything is written.
    pub(crate) fn close(self) {
        self.state.catalog.close();
    }
}

/// Opens everything but listeners, and mends what an earlier server left unfinished.
async fn open_state(
    config: &Config,
    access: Access,
    names: Names,
    uploads: usize,
) -> Result<AppState> {
    let workdir = Workdir::open(config.working_directory.as_deref())?;
    tracing::info!("working directory: {}", workdir.root().display());
    let catalog = Catalog::open(&workdir.catalog_file()?)?;
    let identity = Identity::open(
        workdir.clone(),
        catalog.clone(),
        names.clone(),
        Settings {
            device_lifetime: config.device_validity,
            renewal_overlap: config.renewal_overlap,
            public_url: config.public_url.clone(),
            server_lifetime: config.server_validity,
            device_ca: config.device_ca.clone(),
            server_cert: config.server_cert.clone(),
        },
    )
    .await?;
    let limits = ingest_limits(&config.limits, uploads);
    adopt::adopt(&workdir, &catalog, limits.kept).await?;
    let metrics = Arc::new(Metrics::new());
    let live = Hub::default();
    let ingest = Ingest::open(
        catalog.clone(),
        workdir.clone(),
        live.clone(),
        Arc::clone(&metrics),
        limits,
    )
    .await?;
    let policy = Policy {
        access,
        strict_mode: config.strict_mode,
        strict_media: config.strict_media,
        admin_token: workdir::admin_token(&workdir)?,
    };
    let refusals = Refusals::start(catalog.clone(), Arc::clone(&metrics));
    Ok(AppState::new(Shared {
        catalog,
        workdir,
        identity,
        ingest,
        live,
        refusals,
        metrics,
        policy: arc_swap::ArcSwap::from_pointee(policy),
        faults: config.faults.clone(),
        throttle: http::Throttle::default(),
        logins: http::Logins::default(),
        started: Timestamp::now(),
        listeners: Arc::new(Semaphore::new(http::MOST_LISTENERS)),
        stopping: watch::Sender::new(false),
        kept_free: config.limits.free_disk,
        seen: http::LastSeen::default(),
        names,
        body_timeout: config.limits.body,
        session_timeout: config.limits.session,
    }))
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
        session: limits.session,
        kept: KeptLimits {
            bytes: KEPT_BYTES,
            uploads: KEPT_UPLOADS,
        },
    }
}

/// Renews the server's certificate long before it ends, takes up files that have changed, and lets go of
/// roots whose time is over. Never done.
async fn keep_identity_fresh(identity: &Identity) {
    loop {
        let wait = identity.refresh().await.unwrap_or_else(|e| {
            tracing::error!(error = %e.chain(), "the server's certificates could not be kept fresh");
            REFRESH_AGAIN
        });
        identity.rest(wait).await;
    }
}

/// Says which certificates end soon, at the start and every day. Never done.
async fn watch_ends(identity: &Identity) {
    let mut spoken = Spoken::default();
    loop {
        if let Err(e) = identity.speak_of_ends(&mut spoken).await {
            tracing::error!(error = %e.chain(), "certificates that end soon could not be looked for");
        }
        tokio::time::sleep(ENDS_CHECK).await;
    }
}

/// Hands what is to be shown to `use_it`, in the form that the gate takes.
fn with_material<T>(presented: &Presented, use_it: impl FnOnce(tls::Identity<'_>) -> T) -> T {
    let others: Vec<tls::DeviceAuthority> = presented
        .others
        .iter()
        .cloned()
        .map(|other| tls::DeviceAuthority {
            name: other.name,
            roots_pem: other.roots_pem,
            between_pem: other.between_pem,
            until: other.until,
        })
        .collect();
    use_it(tls::Identity {
        chain_pem: presented.chain_pem.as_bytes(),
        key_pem: presented.key_pem.as_bytes(),
        device_roots_pem: presented.device_root_pem.as_bytes(),
        more_device_roots: &others,
        server_roots_pem: presented.server_roots_pem.as_bytes(),
    })
}

fn open_gate(
    identity: &Identity,
    limits: &Limits,
    connections: usize,
    metrics: Arc<Metrics>,
    refusals: Refusals,
) -> Result<Gate> {
    let presented = identity.presented()?;
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
    let unusable = |e| {
        Error::new(
            Kind::Invalid,
            format!("cannot use the server's certificates: {e}"),
        )
    };
    let observer = Arc::new(Watcher(metrics, refusals));
    let gate = with_material(&presented, |material| {
        Gate::new(material, limits, observer, bar(identity))
    })
    .map_err(unusable)?;
    let shown = gate.clone();
    identity.shown_by(presented, move |presented| {
        with_material(presented, |material| shown.swap(material)).map_err(unusable)
    })?;
    Ok(gate)
}

fn bar(identity: &Identity) -> tls::Bar {
    let identity = identity.clone();
    Arc::new(move |cert| identity.barred(&cert.fingerprint))
}

/// Cuts the connections of certificates that are not taken any more. Never done.
async fn cut_barred(identity: &Identity, gate: &Gate) {
    let mut revocations = identity.revocations();
    loop {
        // Nobody tells when the time to change over to a newer certificate ends.
        let revoked = tokio::time::timeout(BARRING_CHECK, revocations.changed()).await;
        if let Ok(Err(_)) = revoked {
            return std::future::pending().await;
        }
        gate.bar_again();
    }
}

/// Writes down when devices were last here. Never done.
async fn keep_seen(state: &AppState) {
    loop {
        tokio::time::sleep(SEEN_WRITTEN).await;
        write_seen(state).await;
    }
}

async fn write_seen(state: &AppState) {
    if let Err(e) = state.seen.write_down(&state.catalog).await {
        tracing::error!(error = %e.chain(), "when devices were last here could not be written");
    }
}

/// Counts connections, and says why one was refused.
struct Watcher(Arc<Metrics>, Refusals);

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
        self.0.connection_refused(refusal.cause.kind().as_str());
        self.1.connection(refusal);
        if refusal.cause.is_noise() {
            tracing::debug!(remote = %refusal.remote, "connection refused: {}", refusal.reason);
        } else {
            tracing::warn!(remote = %refusal.remote, "connection refused: {}", refusal.reason);
        }
    }
}
