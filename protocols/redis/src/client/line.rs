//! One client as CLIENT LIST and CLIENT INFO show it.

use std::fmt::Write;

use kevy_rt::{ConnView, Peer};

use crate::session::Session;

/// The line, without its end. A session of another protocol shows no more than its connection.
pub(super) fn line(conn: &ConnView<'_>, now_ms: u64) -> String {
    let facts = conn.facts;
    let unknown = Session::default();
    let session = conn.session.downcast_ref::<Session>().unwrap_or(&unknown);
    let seconds_since = |ms: u64| now_ms.saturating_sub(ms) / 1000;
    let command = facts
        .last_command()
        .map_or("NULL".into(), |command| command.name.to_ascii_lowercase().replace(' ', "|"));
    let mut line = String::with_capacity(320);
    let mut add = |name: &str, value: &dyn std::fmt::Display| {
        let blank = if line.is_empty() { "" } else { " " };
        let _ = write!(line, "{blank}{name}={value}");
    };
    add("id", &facts.id);
    add("addr", &facts.peer);
    add("laddr", &facts.local);
    add("fd", &facts.descriptor);
    add("name", &text(&session.name));
    add("age", &seconds_since(facts.opened_ms));
    add("idle", &seconds_since(facts.last_ms()));
    add("flags", &flags(session, conn));
    add("db", &session.dialect.db);
    for name in ["sub", "psub", "ssub"] {
        add(name, &0);
    }
    add("multi", &conn.queued.map_or(-1, |requests| requests as i64));
    add("qbuf", &conn.input_bytes);
    add("qbuf-free", &conn.input_room);
    add("argv-mem", &0);
    add("multi-mem", &conn.queued_bytes);
    for name in ["rbs", "rbp"] {
        add(name, &0);
    }
    add("obl", &conn.output_bytes);
    add("oll", &conn.open_requests);
    add("omem", &conn.output_bytes);
    add("tot-mem", &conn.memory);
    add("events", &if conn.output_bytes > 0 { "rw" } else { "r" });
    add("cmd", &command);
    add("user", &"default");
    add("redir", &-1);
    add("resp", &session.protocol());
    add("lib-name", &text(&session.library));
    add("lib-ver", &text(&session.library_version));
    line
}

/// What clients name themselves is printable when it gets here.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Redis's letters: requests are queued, a watched key was changed, Unix socket, kept from eviction,
/// unnoticed by it; or none.
fn flags(session: &Session, conn: &ConnView<'_>) -> String {
    let letters = [
        (conn.queued.is_some(), 'x'),
        (conn.is_watch_marked, 'd'),
        (matches!(conn.facts.peer, Peer::Unix(_)), 'U'),
        (session.is_kept, 'e'),
        (session.is_unnoticed, 'T'),
    ];
    let flags: String = letters.into_iter().filter(|(is, _)| *is).map(|(_, it)| it).collect();
    if flags.is_empty() { "N".into() } else { flags }
}
