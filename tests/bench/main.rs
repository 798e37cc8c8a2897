//! How fast, how sparing and how small the controller is: N Deployments, one LogSidecar by selector, on a control plane of its
//! own (`make bench`), beside the best that the same client library can do with the same patches.
//!
//! The system under test is a parameter (see `tests/bench/run`): it is watched from outside only, by the audit log of the API
//! server and by `/proc`.

mod audit;
mod bound;
mod cluster;
mod report;
mod settings;
mod system;

use std::error::Error;

use self::{
    audit::Log,
    bound::Sample,
    cluster::{Cluster, SAMPLE, TARGETS},
    report::{Report, Round, Row},
    settings::Settings,
    system::System,
};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// How many requests of the lower bound are in flight.
const IN_FLIGHT: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];

/// How many Deployments are created one at a time to see how long one takes.
const PROBES: usize = 30;

fn main() -> Result<()> {
    // Two threads, as the controller has.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(run(&Settings::from_environment()?))
}

async fn run(settings: &Settings) -> Result<()> {
    let cluster = Cluster::connect(settings).await?;
    let mut log = Log::open()?;
    progress("recording the patch that the system sends");
    let sample = record(settings, &cluster, &mut log).await?;
    progress(&format!("it has {} bytes", sample.size()));

    let mut report = Report::new(settings, &sample);
    // At the largest sizes only the best concurrency of a smaller one is tried.
    let mut best = None;
    for &size in &settings.sizes {
        let in_flight: Vec<usize> = match best {
            Some(best) if size > 1_000 => vec![best],
            None if size > 1_000 => vec![16],
            _ => IN_FLIGHT.to_vec(),
        };
        let row = measure(settings, &cluster, &mut log, &sample, size, &in_flight).await?;
        best = row.bound().map(|(in_flight, _)| in_flight).or(best);
        report.rows.push(row);
        println!("\n{report}");
    }
    let wrong = report.wrong();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ").into()) }
}

fn progress(what: &str) {
    eprintln!("    {what}");
}

/// Lets the system patch one Deployment, and reads in the audit log what it sent.
async fn record(settings: &Settings, cluster: &Cluster, log: &mut Log) -> Result<Sample> {
    let target = cluster.create(SAMPLE, 1).await?.remove(0);
    let mut system = System::start(settings, cluster)?;
    system.until_at_rest(log).await?;
    cluster.begin(SAMPLE).await?;
    let (_, requests) = system.until_patched(log, cluster, SAMPLE, 1).await?;
    drop(system);
    cluster.end(SAMPLE).await?;
    let sent = requests.into_iter().rfind(|request| request.body.is_some() && request.is_write_to(SAMPLE));
    let sent = sent.ok_or("the system has not sent a patch, so there is nothing to compare it with")?;
    Sample::new(&target, &sent)
}

/// All rounds at one size.
async fn measure(
    settings: &Settings,
    cluster: &Cluster,
    log: &mut Log,
    sample: &Sample,
    size: usize,
    in_flight: &[usize],
) -> Result<Row> {
    progress(&format!("N={size}: creating Deployments"));
    let mut targets = cluster.create(TARGETS, size).await?;
    let mut row = Row::new(size);
    for round in 1..=settings.rounds {
        for &in_flight in in_flight {
            let run = bound::run(cluster, sample, &targets, in_flight).await?;
            progress(&format!("N={size} round {round}: bound with {in_flight:2} in flight {:7.2} s", run.seconds));
            row.bounds.entry(in_flight).or_default().push(run);
            targets = cluster.reset(&targets).await?;
        }
        let last = round == settings.rounds;
        let measured = system(settings, cluster, log, size, last.then_some(&mut row)).await?;
        progress(&format!("N={size} round {round}: system {:24.2} s", measured.seconds));
        row.rounds.push(measured);
        targets = cluster.reset(&targets).await?;
    }
    Ok(row)
}

/// One round of the system under test; the last one goes on to what needs injected Deployments.
async fn system(settings: &Settings, cluster: &Cluster, log: &mut Log, size: usize, last: Option<&mut Row>) -> Result<Round> {
    let mut system = System::start(settings, cluster)?;
    system.until_at_rest(log).await?;
    let at_start = system.memory()?;
    let cpu = (cluster.server_cpu(), system.cpu());
    let begun = cluster.begin(TARGETS).await?;
    let (patched, mut requests) = system.until_patched(log, cluster, TARGETS, size).await?;
    // Until the rollouts have ended: what they make the API server and the system do counts.
    cluster.controllers_rest().await?;
    system.rest(log, &mut requests).await?;
    let round = Round {
        seconds: patched - begun,
        requests,
        memory: system.memory()?,
        listed: at_start,
        server_cpu: cluster.server_cpu() - cpu.0,
        cpu: system.cpu() - cpu.1,
    };
    if let Some(row) = last {
        progress(&format!("N={size}: restarting the system"));
        system.stop().await?;
        log.read()?;
        system = System::start(settings, cluster)?;
        let (seconds, requests) = system.until_at_rest(log).await?;
        row.restart = (seconds, requests, system.memory()?);
        progress(&format!("N={size}: {PROBES} Deployments, one at a time"));
        row.probes = cluster.probe(PROBES, &settings.done).await?;
    }
    // The rollouts of the last Deployments end before the next round.
    cluster.controllers_rest().await?;
    system.stop().await?;
    cluster.end(TARGETS).await?;
    Ok(round)
}
