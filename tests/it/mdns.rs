//! The server on the local network, seen by another mDNS client.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::time::{Duration, Instant};

use mdns_sd::{ResolvedService, ServiceDaemon, ServiceEvent, ServiceInfo};

use crate::dropin::Replaced;
use crate::harness::{DEADLINE, Ending, Server, outside_address, skipped};

const SERVICE: &str = "_http._tcp.local.";

/// Who looks for services.
struct Neighbour {
    daemon: ServiceDaemon,
    events: mdns_sd::Receiver<ServiceEvent>,
}

impl Neighbour {
    fn look() -> mdns_sd::Result<Self> {
        let daemon = ServiceDaemon::new()?;
        let events = daemon.browse(SERVICE)?;
        Ok(Self { daemon, events })
    }

    fn wait<T>(
        &self,
        limit: Duration,
        mut fits: impl FnMut(ServiceEvent) -> Option<T>,
    ) -> Option<T> {
        let end = Instant::now() + limit;
        loop {
            let left = end.checked_duration_since(Instant::now())?;
            if let Some(found) = fits(self.events.recv_timeout(left).ok()?) {
                return Some(found);
            }
        }
    }

    fn resolved(&self, name: &str, limit: Duration) -> Option<Box<ResolvedService>> {
        self.wait(limit, |event| match event {
            ServiceEvent::ServiceResolved(service) if service.fullname == name => Some(service),
            _ => None,
        })
    }

    fn gone(&self, name: &str) -> bool {
        let removed = |event| match event {
            ServiceEvent::ServiceRemoved(_, gone) if gone == name => Some(()),
            _ => None,
        };
        self.wait(DEADLINE, removed).is_some()
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _ = self.daemon.shutdown();
    }
}

/// Whether one mDNS program hears another on this machine, at this address.
fn multicast_works(name: &str, address: Ipv4Addr) -> bool {
    let heard = || -> mdns_sd::Result<bool> {
        let daemon = ServiceDaemon::new()?;
        let host = format!("{name}.local.");
        let ip = IpAddr::from(address);
        let none: Option<std::collections::HashMap<String, String>> = None;
        daemon.register(ServiceInfo::new(SERVICE, name, &host, ip, 9, none)?)?;
        let found =
            Neighbour::look()?.resolved(&format!("{name}.{SERVICE}"), Duration::from_secs(10));
        let _ = daemon.shutdown()?.recv_timeout(Duration::from_secs(2));
        Ok(found.is_some())
    };
    let works = heard().unwrap_or(false);
    if !works {
        skipped(&format!("no multicast at {address}"));
    }
    works
}

fn unique(what: &str) -> String {
    format!("pavs-{what}-{}", std::process::id())
}

/// Multi-threaded, because looking for services blocks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d31_real_addresses_and_the_real_port_are_advertised() {
    if !multicast_works(&unique("try"), Ipv4Addr::LOCALHOST) {
        return;
    }
    let name = unique("lo");
    let neighbour = Neighbour::look().expect("a client");
    let mut server = Server::with().args(["--dns", &name]).start().await;
    let full = format!("{name}.{SERVICE}");
    let found = neighbour
        .resolved(&full, DEADLINE)
        .expect("it is advertised");
    assert_eq!(found.port, server.port);
    assert_eq!(found.host, full);
    let addresses: HashSet<IpAddr> = found.addresses.iter().map(|a| a.to_ip_addr()).collect();
    assert!(
        !addresses.is_empty() && addresses.iter().all(IpAddr::is_loopback),
        "it listens on loopback addresses only: {addresses:?}"
    );
    // The host's name is one of the certificate's.
    let cert = server
        .anonymous()
        .get("/certs/server/localhost.pem")
        .await
        .expect(200);
    let names = cert.json()["cert"]["subject_alt_names"].to_string();
    let host = full.trim_end_matches('.');
    assert!(names.contains(&format!("\"DNS:{name}\"")), "{names}");
    assert!(names.contains(&format!("\"DNS:{host}\"")), "{names}");

    server.end(Ending::Polite).await;
    assert!(neighbour.gone(&full), "it is withdrawn at the end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d31_every_network_is_told_its_own_address() {
    let Some(outside) = outside_address() else {
        return skipped("the machine has no address besides loopback");
    };
    if !multicast_works(&unique("try-outside"), outside) {
        return;
    }
    let name = unique("all");
    let neighbour = Neighbour::look().expect("a client");
    let server = Server::with()
        .args(["--host", "0.0.0.0", "--dns", &name])
        .start()
        .await;
    let full = format!("{name}.{SERVICE}");
    let found = neighbour.wait(DEADLINE, |event| match event {
        ServiceEvent::ServiceResolved(service) if service.fullname == full => {
            let mut addresses = service.addresses.iter().map(|a| a.to_ip_addr());
            addresses.any(|ip| ip == outside).then_some(service)
        }
        _ => None,
    });
    assert_eq!(found.expect("it is advertised").port, server.port);
}

/// A network namespace of its own has no network that is up, as some containers have none with multicast.
#[test]
fn d31_without_multicast_there_is_a_warning() {
    let alone = Command::new("unshare").args(["-rn", "true"]).output();
    if !alone.is_ok_and(|ran| ran.status.success()) {
        return skipped("this user may not make network namespaces");
    }
    let mut command = Command::new("unshare");
    command.args(["-rn", env!("CARGO_BIN_EXE_pavs")]).args([
        "serve", "--host", "0.0.0.0", "--port", "0", "--dns", "alone",
    ]);
    let mut server = Replaced::start(&mut command);
    server.line("Running on https://0.0.0.0:");
    server.line("not advertised by mDNS");
    assert_eq!(server.terminate().code(), Some(0));
}
