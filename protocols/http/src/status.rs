//! The command set: how the server is, for probes, for Prometheus and for people.

use kevy_rt::{Carry, Cx, Observe, Scrape, commands};

use crate::request::Framing;
use crate::{Code, Http, Media, Request, Response, json, process, prometheus};

/// The page, which asks for `/status.json` again and again.
const PAGE: &str = include_str!("page.html");

/// The set. It is served over any store.
#[derive(Debug)]
pub struct Status;

#[commands(store = impl Observe, wire = Http)]
impl Status {
    /// A page for people: load, latency, messages between shards, commands, memory.
    #[command(route = local, name = "GET index.html")]
    fn page(request: Request<'_>) -> Response {
        request.answer(Code::Ok, Media::Html, PAGE)
    }

    /// All metrics in the text format of Prometheus.
    #[command(route = all, loose, gather = as_prometheus, name = "GET metrics")]
    fn metrics(store: &impl Observe, cx: &Cx<'_>, request: Request<'_>) -> Share {
        Share::collect(store, cx, request)
    }

    /// All metrics as JSON: what the page shows.
    #[command(route = all, loose, gather = as_json, name = "GET status.json")]
    fn status(store: &impl Observe, cx: &Cx<'_>, request: Request<'_>) -> Share {
        Share::collect(store, cx, request)
    }

    /// Whether the process serves.
    #[command(route = local, name = "GET healthz")]
    fn healthz(request: Request<'_>) -> Response {
        request.answer(Code::Ok, Media::Text, "ok\n")
    }

    /// Whether clients should be sent here: not while the server stops.
    #[command(route = local, name = "GET readyz")]
    fn readyz(cx: &Cx<'_>, request: Request<'_>) -> Response {
        match cx.server().process().is_stopping() {
            false => request.answer(Code::Ok, Media::Text, "ready\n"),
            true => request.answer(Code::ServiceUnavailable, Media::Text, "stopping\n"),
        }
    }
}

/// What one shard tells.
#[derive(Debug)]
struct Share {
    shard: usize,
    now_ms: u64,
    framing: Framing,
    scrape: Scrape,
}

impl Carry for Share {}

impl Share {
    fn collect(store: &impl Observe, cx: &Cx<'_>, request: Request<'_>) -> Self {
        let shard = cx.server().place().shard;
        let mut scrape = store.scrape(cx);
        if shard == 0 {
            process::tell(&mut scrape);
        }
        Share { shard, now_ms: cx.now_ms(), framing: request.framing, scrape }
    }

    /// All shards' as one, in their order.
    fn sum(parts: impl Iterator<Item = Share>) -> Share {
        let mut parts: Vec<Share> = parts.collect();
        parts.sort_by_key(|part| part.shard);
        let sum = parts.into_iter().reduce(|mut sum, part| {
            sum.scrape.add(part.scrape);
            Share { now_ms: sum.now_ms.max(part.now_ms), ..sum }
        });
        sum.expect("there is a shard")
    }
}

fn as_prometheus(parts: impl Iterator<Item = Share>) -> Response {
    let Share { framing, scrape, .. } = Share::sum(parts);
    framing.answer(Code::Ok, Media::Prometheus, prometheus::write(&scrape))
}

fn as_json(parts: impl Iterator<Item = Share>) -> Response {
    let Share { framing, scrape, now_ms, .. } = Share::sum(parts);
    framing.answer(Code::Ok, Media::Json, json::write(&scrape, now_ms))
}
