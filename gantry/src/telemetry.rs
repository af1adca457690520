//! Logs to standard error, and metrics and traces to whoever asks: Prometheus by `/metrics`, a collector by OTLP.
//!
//! Logs go through a thread of nobody's: a line is written where it is logged, so a crash loses none. There is no
//! line a message above `trace`, hence nothing to gain from a queue.

use std::io::IsTerminal;

use anyhow::Context;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{MetricExporter, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{Instrument, SdkMeterProvider, Stream};
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::config::Log;

/// Series of one metric; further ones are summed up as `otel_metric_overflow`, so that the memory for labels such
/// as topics stays bounded.
const SERIES_MAX: usize = 10_000;
/// Share of the requests that are traced when a collector is given.
const TRACED_SHARE: f64 = 0.01;

/// Where metrics are registered, and what must be flushed at the end.
pub(crate) struct Telemetry {
    /// What `/metrics` shows.
    pub(crate) registry: prometheus::Registry,
    meters: SdkMeterProvider,
    tracers: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Runs a role from its first log line, the warnings about its configuration, until what it has to tell was exported.
    ///
    /// # Errors
    /// As [`Telemetry::start`], and the role's.
    pub(crate) async fn around<T>(
        log: &Log,
        otlp_endpoint: Option<&str>,
        warnings: &[String],
        serve: impl AsyncFnOnce(&Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let telemetry = Self::start(log, otlp_endpoint)?;
        for warning in warnings {
            tracing::warn!("configuration: {warning}");
        }
        let result = serve(&telemetry).await;
        // Exporters wait for their collector, which must not hold up other tasks.
        tokio::task::spawn_blocking(|| telemetry.stop()).await.context("stopping telemetry")?;
        result
    }

    /// Starts logging and, with an endpoint, the export. Call it once, inside the runtime.
    ///
    /// # Errors
    /// An endpoint that cannot be used, or a logger that is set already.
    fn start(log: &Log, otlp_endpoint: Option<&str>) -> anyhow::Result<Self> {
        let resource = Resource::builder()
            .with_service_name("gantry")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let registry = prometheus::Registry::new();
        let prometheus = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .without_target_info()
            .build()
            .context("metrics cannot be registered")?;
        let mut meters = SdkMeterProvider::builder()
            .with_resource(resource.clone())
            .with_reader(prometheus)
            .with_view(|_: &Instrument| Stream::builder().with_cardinality_limit(SERIES_MAX).build().ok());
        let mut tracers = None;
        if let Some(endpoint) = otlp_endpoint {
            meters =
                meters.with_periodic_exporter(MetricExporter::builder().with_tonic().with_endpoint(endpoint).build()?);
            let spans = SpanExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
            let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(TRACED_SHARE)));
            let builder = SdkTracerProvider::builder().with_resource(resource).with_sampler(sampler);
            tracers = Some(builder.with_batch_exporter(spans).build());
        }
        start_logging(log, tracers.as_ref())?;
        Ok(Self { registry, meters: meters.build(), tracers })
    }

    /// What instruments are made from.
    pub(crate) fn meter(&self) -> Meter {
        self.meters.meter("gantry")
    }

    /// Sends what waits; blocks for a few seconds at most.
    fn stop(self) {
        if let Some(Err(error)) = self.tracers.map(|tracers| tracers.shutdown()) {
            tracing::warn!(%error, "the last traces were not exported");
        }
        if let Err(error) = self.meters.shutdown() {
            tracing::warn!(%error, "the last metrics were not exported");
        }
    }
}

/// It tells of each message that does not arrive, several a second while a controller is away; `controller` logs what follows from that.
const QUIET: &str = "openraft=off";

fn start_logging(log: &Log, tracers: Option<&SdkTracerProvider>) -> anyhow::Result<()> {
    let filter = if log.filter.contains("openraft") { log.filter.clone() } else { format!("{QUIET},{}", log.filter) };
    let filter = EnvFilter::try_new(filter).context("log filter")?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if log.is_json {
        lines.json().flatten_event(true).boxed()
    } else {
        lines.with_ansi(std::io::stderr().is_terminal()).boxed()
    };
    let traces = tracers.map(|tracers| tracing_opentelemetry::layer().with_tracer(tracers.tracer("gantry")));
    Registry::default().with(traces).with(lines.with_filter(filter)).try_init().context("logging")
}
