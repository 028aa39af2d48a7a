//! Multicast DNS (RFC 6762, 6763): says on the local network where the server is.
//!
//! `--dns NAME` is the service `NAME._http._tcp.local.`, which is also the host name in its SRV record
//! and a name in the server's certificate, as the Matter project's test server has it. Told are the
//! addresses that are listened on, each on its own network only, and the real port.
//!
//! Networks without multicast (containers, mostly) are common: then there is a warning and no service.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mdns_sd::{DaemonEvent, IfKind, Receiver, RecvTimeoutError, ServiceDaemon, ServiceInfo};

/// Type of the service, with its domain.
const SERVICE: &str = "_http._tcp.local.";
/// How a name ends that has the type already.
const SUFFIX: &str = "._http._tcp.local";
/// Longest instance name in bytes: it is one DNS label.
const MAX_LABEL: usize = 63;
/// How long to wait for the first announcement before it is said that there is none. Probing for the
/// name takes three quarters of a second.
const ANNOUNCED: Duration = Duration::from_secs(5);
/// How long the last words may take.
const WITHDRAWN: Duration = Duration::from_secs(1);

/// Full name of the service that a `--dns` name stands for, without the last dot; `None` for what names
/// no service: a pattern, and a name that is too long.
pub(crate) fn service_name(dns: &str) -> Option<String> {
    let instance = instance(dns)?;
    Some(format!("{instance}{SUFFIX}"))
}

/// The part of the name before the service's type.
fn instance(dns: &str) -> Option<&str> {
    let name = dns.trim_end_matches('.');
    let type_at = name.len().saturating_sub(SUFFIX.len());
    let instance = match name.get(type_at..) {
        Some(end) if end.eq_ignore_ascii_case(SUFFIX) => name.get(..type_at)?,
        _ => name,
    };
    let fits = (1..=MAX_LABEL).contains(&instance.len()) && !instance.starts_with('*');
    fits.then_some(instance)
}

/// The services as long as they are told.
pub(crate) struct Advertisement {
    daemon: ServiceDaemon,
    names: Vec<String>,
}

impl Advertisement {
    /// Begins to tell the services of these names. `None`, with a warning, where that cannot be done,
    /// and where there is no name.
    pub(crate) fn begin(dns: &[String], listening: &[SocketAddr]) -> Option<Self> {
        let instances: Vec<&str> = dns.iter().filter_map(|name| instance(name)).collect();
        if instances.is_empty() {
            return None;
        }
        match Self::register(&instances, listening) {
            Ok(told) => Some(told),
            Err(e) => {
                tracing::warn!("the service is not advertised by mDNS: {e}");
                None
            }
        }
    }

    fn register(instances: &[&str], listening: &[SocketAddr]) -> mdns_sd::Result<Self> {
        let daemon = ServiceDaemon::new()?;
        let events = daemon.monitor()?;
        let mut names = Vec::new();
        for instance in instances {
            let service = service(instance, listening)?;
            names.push(service.get_fullname().to_owned());
            daemon.register(service)?;
        }
        std::thread::Builder::new()
            .name("mdns".to_owned())
            .spawn(move || watch(&events))
            .map_err(|e| mdns_sd::Error::Msg(format!("no thread can be started: {e}")))?;
        Ok(Self { daemon, names })
    }

    /// Says that the services are gone. Takes up to some seconds; not for the runtime's threads.
    pub(crate) fn withdraw(self) {
        for name in &self.names {
            if let Ok(done) = self.daemon.unregister(name) {
                let _ = done.recv_timeout(WITHDRAWN);
            }
        }
        if let Ok(done) = self.daemon.shutdown() {
            let _ = done.recv_timeout(WITHDRAWN);
        }
    }
}

fn service(instance: &str, listening: &[SocketAddr]) -> mdns_sd::Result<ServiceInfo> {
    let host = format!("{instance}.{SERVICE}");
    let port = listening.first().map_or(0, SocketAddr::port);
    let named: Vec<IpAddr> = listening
        .iter()
        .map(SocketAddr::ip)
        .filter(|ip| !ip.is_unspecified())
        .collect();
    let every = |v4: bool| {
        listening
            .iter()
            .any(|at| at.ip().is_unspecified() && at.is_ipv4() == v4)
    };
    let mut networks: Vec<IfKind> = named.iter().copied().map(IfKind::Addr).collect();
    networks.extend(every(true).then_some(IfKind::IPv4));
    networks.extend(every(false).then_some(IfKind::IPv6));
    let mut service = ServiceInfo::new(
        SERVICE,
        instance,
        &host,
        &named[..],
        port,
        &[("path", "/")][..],
    )?;
    if every(true) || every(false) {
        service = service.enable_addr_auto();
    }
    service.set_interfaces(networks);
    Ok(service)
}

/// Says what becomes of the services, until they are withdrawn.
fn watch(events: &Receiver<DaemonEvent>) {
    let mut first = Some(ANNOUNCED);
    loop {
        let event = match first {
            Some(limit) => events.recv_timeout(limit),
            None => events.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match event {
            // It is told again a second later, and whenever an address comes.
            Ok(DaemonEvent::Announce(name, networks)) if first.is_none() => {
                tracing::debug!("advertised by mDNS again: {name} at {networks}");
            }
            Ok(DaemonEvent::Announce(name, _)) => {
                first = None;
                tracing::info!("advertised by mDNS: {name}");
            }
            Ok(DaemonEvent::NameChange(change)) => tracing::warn!(
                "mDNS: {} is taken on {}; advertised as {}, which the server's certificate does not have",
                change.original,
                change.intf_name,
                change.new_name
            ),
            Ok(DaemonEvent::Error(e)) => tracing::warn!("mDNS: {e}"),
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) => {
                first = None;
                tracing::warn!(
                    "the service is not advertised by mDNS: no network with the server's addresses takes multicast"
                );
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_service() {
        for (dns, expected) in [
            ("cams", Some("cams._http._tcp.local")),
            ("cams.local.", Some("cams.local._http._tcp.local")),
            ("cams._http._tcp.local.", Some("cams._http._tcp.local")),
            ("cams._HTTP._tcp.local", Some("cams._http._tcp.local")),
            ("*.example.org", None),
        ] {
            assert_eq!(service_name(dns).as_deref(), expected, "{dns}");
        }
    }
}
