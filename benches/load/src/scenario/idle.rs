//! The server at rest: its CPU use, and how long a request waits for it to wake.

use std::io;
use std::time::{Duration, Instant};

use socket2::Socket;

use super::{Failure, Outcome};
use crate::address::read_until;
use crate::server::Server;
use crate::setting::{OURS, Setting};
use crate::usage::Meter;
use crate::verdict::Verdict;

/// Watches the server with no connection and with many, then asks it single requests.
pub(super) fn run(setting: &Setting) -> Result<Outcome, Failure> {
    const CONNECTIONS: usize = 1000;
    const WATCHED: Duration = Duration::from_secs(10);
    let server = setting.programs.ours(OURS, 8).start(&setting.place)?;
    let mut outcome = Outcome::default();
    let mut watch = |open: usize| -> io::Result<()> {
        // What follows the last connection has passed.
        std::thread::sleep(Duration::from_millis(500));
        let meter = Meter::new(server.pid());
        let (before, start) = (meter.read()?, Instant::now());
        std::thread::sleep(WATCHED);
        let cpu = meter.read()?.since(before).cpu;
        let use_percent = 100.0 * cpu.as_secs_f64() / start.elapsed().as_secs_f64();
        let what = format!("8 shards, {open} idle connections, CPU use of a core");
        outcome.verdicts.push(Verdict::new(what, Some(use_percent), 0.2).in_unit(" %"));
        Ok(())
    };
    watch(0)?;
    let connections: Vec<Socket> =
        (0..CONNECTIONS).map(|_| server.address().connect()).collect::<io::Result<_>>()?;
    watch(CONNECTIONS)?;
    drop(connections);
    let latencies = latencies_after_sleep(&server)?;
    let (median, worst) = (latencies[latencies.len() / 2], latencies[latencies.len() - 1]);
    outcome.notes.push(format!("median latency after a second of sleep: {median:.3} ms"));
    let what = format!("worst latency after a second of sleep, of {}", latencies.len());
    outcome.verdicts.push(Verdict::new(what, Some(worst), 1.0).in_unit(" ms"));
    Ok(outcome)
}

/// The latencies of single requests to a server that slept, in milliseconds, from the least on.
fn latencies_after_sleep(server: &Server) -> io::Result<Vec<f64>> {
    const TIMES: usize = 20;
    const SLEEP: Duration = Duration::from_secs(1);
    let mut socket = server.address().connect()?;
    let mut latencies = Vec::new();
    for _ in 0..TIMES {
        std::thread::sleep(SLEEP);
        let start = Instant::now();
        io::Write::write_all(&mut socket, b"*1\r\n$4\r\nPING\r\n")?;
        read_until(&mut socket, |reply| reply.ends_with(b"\r\n"))?;
        latencies.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    latencies.sort_by(f64::total_cmp);
    Ok(latencies)
}
