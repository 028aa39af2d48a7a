//! Figures for Prometheus.

use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::catalog::Status;
use crate::finding::{Findings, Profile, Severity};
use crate::refusals::REQUEST_CAUSES;
use crate::tls::{Cause, RefusalKind};

/// All figures. One per server, shared by reference.
pub(crate) struct Metrics {
    registry: Registry,
    uploads: Family<StatusLabel, Counter>,
    findings: Family<SeverityLabel, Counter>,
    upload_bytes: Counter<u64, AtomicU64>,
    upload_seconds: Histogram,
    uploads_running: Gauge<i64, AtomicI64>,
    connections: Gauge<i64, AtomicI64>,
    connections_total: Counter,
    refused_connections: Family<KindLabel, Counter>,
    refusals: Family<CauseLabel, Counter>,
    refusals_dropped: Counter,
    certificates_expiring: Family<HierarchyLabel, Gauge>,
    disk_free: Gauge<i64, AtomicI64>,
    disk_size: Gauge<i64, AtomicI64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabel {
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SeverityLabel {
    severity: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HierarchyLabel {
    hierarchy: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CauseLabel {
    cause: &'static str,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("pavs");
        let uploads = Family::<StatusLabel, Counter>::default();
        registry.register("uploads", "Uploads by what became of them", uploads.clone());
        let findings = Family::<SeverityLabel, Counter>::default();
        registry.register(
            "findings",
            "Rules on media that uploads broke, by how much they matter; each once per upload",
            findings.clone(),
        );
        for severity in Severity::ALL {
            drop(findings.get_or_create(&SeverityLabel {
                severity: severity.as_str(),
            }));
        }
        let upload_bytes = Counter::default();
        registry.register_with_unit(
            "upload",
            "Bytes of body received",
            Unit::Bytes,
            upload_bytes.clone(),
        );
        let upload_seconds = Histogram::new(exponential_buckets(0.001, 4.0, 10));
        registry.register_with_unit(
            "upload_duration",
            "From the header of an upload to its record",
            Unit::Seconds,
            upload_seconds.clone(),
        );
        let uploads_running = Gauge::default();
        registry.register(
            "uploads_running",
            "Uploads under way",
            uploads_running.clone(),
        );
        let connections = Gauge::default();
        registry.register("connections", "Open connections", connections.clone());
        let connections_total = Counter::default();
        registry.register(
            "connections_opened",
            "Connections whose handshake succeeded",
            connections_total.clone(),
        );
        let refused_connections = Family::<KindLabel, Counter>::default();
        registry.register(
            "connections_refused",
            "Connections that did not come to a handshake, by reason",
            refused_connections.clone(),
        );
        for kind in RefusalKind::ALL {
            // A counter that is there from the start shows its first step.
            drop(refused_connections.get_or_create(&KindLabel {
                kind: kind.as_str(),
            }));
        }
        let refusals = Family::<CauseLabel, Counter>::default();
        registry.register(
            "refusals",
            "Connections and requests that were turned away, by cause",
            refusals.clone(),
        );
        for cause in Cause::ALL
            .map(Cause::as_str)
            .into_iter()
            .chain(REQUEST_CAUSES)
        {
            drop(refusals.get_or_create(&CauseLabel { cause }));
        }
        let refusals_dropped = Counter::default();
        registry.register(
            "refusals_dropped",
            "Refusals that were counted but not recorded, since there were too many at a time",
            refusals_dropped.clone(),
        );
        let certificates_expiring = Family::<HierarchyLabel, Gauge>::default();
        registry.register(
            "certificates_expiring",
            "Certificates that end within 30 days and have no successor",
            certificates_expiring.clone(),
        );
        let disk_free = Gauge::default();
        registry.register_with_unit(
            "disk_free",
            "Free space for the working directory",
            Unit::Bytes,
            disk_free.clone(),
        );
        let disk_size = Gauge::default();
        registry.register_with_unit(
            "disk_size",
            "Size of its file system",
            Unit::Bytes,
            disk_size.clone(),
        );
        let version = Family::<VersionLabel, Gauge>::default();
        registry.register("build_info", "Version of the server", version.clone());
        version
            .get_or_create(&VersionLabel {
                version: env!("CARGO_PKG_VERSION"),
            })
            .set(1);
        Self {
            registry,
            uploads,
            findings,
            upload_bytes,
            upload_seconds,
            uploads_running,
            connections,
            connections_total,
            refused_connections,
            refusals,
            refusals_dropped,
            certificates_expiring,
            disk_free,
            disk_size,
        }
    }

    /// An upload has ended.
    pub(crate) fn upload(&self, status: Status, bytes: u64, took: Duration) {
        self.uploads
            .get_or_create(&StatusLabel {
                status: status.as_str(),
            })
            .inc();
        self.upload_bytes.inc_by(bytes);
        self.upload_seconds.observe(took.as_secs_f64());
    }

    /// What was found in an upload's media.
    pub(crate) fn findings(&self, findings: &Findings, profile: Profile) {
        for severity in findings.iter().filter_map(|found| found.severity(profile)) {
            self.findings
                .get_or_create(&SeverityLabel {
                    severity: severity.as_str(),
                })
                .inc();
        }
    }

    pub(crate) fn connection_opened(&self) {
        self.connections.inc();
        self.connections_total.inc();
    }

    pub(crate) fn connection_closed(&self) {
        self.connections.dec();
    }

    /// Open connections.
    pub(crate) fn connections(&self) -> i64 {
        self.connections.get()
    }

    pub(crate) fn connection_refused(&self, kind: &'static str) {
        self.refused_connections
            .get_or_create(&KindLabel { kind })
            .inc();
    }

    /// A connection or a request was turned away.
    pub(crate) fn refused(&self, cause: &'static str) {
        self.refusals.get_or_create(&CauseLabel { cause }).inc();
    }

    pub(crate) fn refusals_dropped(&self, count: u64) {
        self.refusals_dropped.inc_by(count);
    }

    /// So many certificates of a hierarchy end soon.
    pub(crate) fn certificates_expiring(&self, hierarchy: &'static str, count: usize) {
        self.certificates_expiring
            .get_or_create(&HierarchyLabel { hierarchy })
            .set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// The OpenMetrics text, with the figures that are asked for only now.
    pub(crate) fn encode(
        &self,
        running: usize,
        disk: Option<(u64, u64)>,
    ) -> Result<String, std::fmt::Error> {
        let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        self.uploads_running.set(signed(running as u64));
        if let Some((free, size)) = disk {
            self.disk_free.set(signed(free));
            self.disk_size.set(signed(size));
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VersionLabel {
    version: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_named_as_documented() {
        let metrics = Metrics::new();
        metrics.upload(Status::Accepted, 5, Duration::from_millis(2));
        metrics.connection_refused("certificate");
        metrics.refused("certificate-expired");
        metrics.refusals_dropped(2);
        metrics.certificates_expiring("device", 3);
        let text = metrics.encode(3, Some((10, 20))).unwrap();
        for line in [
            "pavs_uploads_total{status=\"accepted\"} 1",
            "pavs_upload_bytes_total 5",
            "pavs_upload_duration_seconds_count 1",
            "pavs_uploads_running 3",
            "pavs_connections_refused_total{kind=\"certificate\"} 1",
            "pavs_refusals_total{cause=\"certificate-expired\"} 1",
            "pavs_refusals_total{cause=\"no-shared-version\"} 0",
            "pavs_refusals_dropped_total 2",
            "pavs_certificates_expiring{hierarchy=\"device\"} 3",
            "pavs_disk_free_bytes 10",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
