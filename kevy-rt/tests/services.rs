//! What a server of one's own needs beside commands: stores that don't open, beginnings and ends of
//! connections.

mod toy;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kevy_rt::{
    Builder, Cx, Error, KeyHasher, Listen, Open, OpenError, Out, Peer, Place, ReactorChoice,
    Runtime, Session, Store, commands, server,
};
use toy::Lines;

/// How many shards a server of these tests has.
const SHARDS: [usize; 3] = [1, 2, 5];

fn reactors() -> Vec<ReactorChoice> {
    let without = std::env::var("KEVY_WITHOUT_URING").is_ok_and(|value| value == "1");
    let uring = (cfg!(target_os = "linux") && !without).then_some(ReactorChoice::Uring);
    uring.into_iter().chain([ReactorChoice::Poll]).collect()
}

/// Runs `test` for each reactor and number of shards, with what makes a server of them.
fn each_server(test: impl Fn(usize, &dyn Fn(Settings) -> Builder<Server>)) {
    for reactor in reactors() {
        for shards in SHARDS {
            test(shards, &|settings| {
                let at = Listen::Tcp(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
                let builder = Builder::new(settings).signals(false).reactor(reactor);
                builder.shards(shards).listen(0, at)
            });
        }
    }
}

fn connect(server: &Runtime) -> TcpStream {
    let Listen::Tcp(at) = server.process().listeners()[0].at else { panic!("it is TCP") };
    TcpStream::connect((Ipv4Addr::LOCALHOST, at.port())).expect("it listens")
}

fn call(client: &mut TcpStream, request: &str) -> String {
    client.write_all(request.as_bytes()).expect("it reads");
    line(client)
}

fn line(client: &mut TcpStream) -> String {
    let mut reply = Vec::new();
    while reply.last() != Some(&b'\n') {
        let mut byte = [0];
        client.read_exact(&mut byte).expect("it answers");
        reply.extend(byte);
    }
    String::from_utf8(reply).expect("it is text").trim().to_owned()
}

fn stop(server: Runtime) {
    server.process().stop();
    server.join().expect("it ends well");
}

/// What the tests see of all shards.
#[derive(Clone, Debug, Default)]
struct Settings {
    /// The shard whose store doesn't open.
    broken: Option<usize>,
    /// Stores that are open.
    open: Arc<AtomicUsize>,
    /// Connections whose beginning was told, and whose end.
    began: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
}

/// A store that knows who is connected.
#[derive(Debug)]
struct Db {
    settings: Settings,
    guests: Vec<u64>,
}

impl Drop for Db {
    fn drop(&mut self) {
        self.settings.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Store for Db {
    type Settings = Settings;

    fn open(settings: &Settings, place: Place, _: &KeyHasher) -> Result<Self, OpenError> {
        if settings.broken == Some(place.shard) {
            return Err("its file is torn".into());
        }
        settings.open.fetch_add(1, Ordering::SeqCst);
        Ok(Db { settings: settings.clone(), guests: Vec::new() })
    }
}

/// One part of a session, and another.
#[derive(Debug)]
struct Guest(u64);

#[derive(Debug)]
struct Counted;

impl Guest {
    fn open(db: &mut Db, cx: &Cx<'_>) -> Self {
        let id = cx.conn().expect("somebody connects").id;
        db.guests.push(id);
        Guest(id)
    }

    fn close(self, db: &mut Db, cx: &Cx<'_>) {
        assert_eq!(cx.conn().map(|conn| conn.id), Some(self.0));
        db.guests.retain(|guest| *guest != self.0);
    }
}

/// The session of the port: both.
#[derive(Debug)]
struct Both {
    guest: Guest,
    counted: Counted,
}

impl Session for Both {}

impl Open<Db> for Both {
    fn open(db: &mut Db, cx: &Cx<'_>, greeting: &mut Out) -> Option<Self> {
        greeting.extend(b"+hello\n");
        db.settings.began.fetch_add(1, Ordering::SeqCst);
        Some(Both { guest: Guest::open(db, cx), counted: Counted })
    }

    fn close(self, db: &mut Db, cx: &Cx<'_>) {
        let Both { guest, counted: Counted } = self;
        guest.close(db, cx);
        db.settings.ended.fetch_add(1, Ordering::SeqCst);
    }
}

#[derive(Debug)]
struct Set;

#[commands(store = Db, wire = Lines)]
impl Set {
    /// How many connections there are, as the hooks count them.
    #[command(route = all, loose, gather = sum)]
    fn guests(db: &Db) -> u64 {
        db.guests.len() as u64
    }

    /// Where the connection comes from, and to what.
    #[command(route = local)]
    fn addresses(cx: &Cx) -> Option<Vec<u8>> {
        let conn = cx.conn()?;
        Some(format!("{} {}", conn.peer, conn.local).into_bytes())
    }
}

server! { Server: store = Db, ports = [ Lines, Both => [Set] ] }

#[test]
fn a_store_that_does_not_open_ends_all_shards() {
    each_server(|shards, builder| {
        for broken in [0, shards - 1] {
            let settings = Settings { broken: Some(broken), ..Settings::default() };
            let error = builder(settings.clone()).start().expect_err("a store doesn't open");
            assert!(matches!(error, Error::Open { shard, .. } if shard == broken), "{error}");
            let said = format!("shard {broken} can't open its store: its file is torn");
            assert_eq!(error.to_string(), said);
            assert_eq!(settings.open.load(Ordering::SeqCst), 0);
        }
    });
}

#[test]
fn each_beginning_of_a_connection_has_its_end() {
    each_server(|_, builder| {
        let settings = Settings::default();
        let server = builder(settings.clone()).start().expect("it starts");
        let mut clients: Vec<_> = (0..7).map(|_| connect(&server)).collect();
        for client in &mut clients {
            assert_eq!(line(client), "+hello");
        }
        assert_eq!(call(&mut clients[0], "guests\n"), ":7");
        drop(clients.pop());
        while call(&mut clients[0], "guests\n") != ":6" {}
        // Those that are there when the server stops are told as well.
        stop(server);
        let count = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
        assert_eq!((count(&settings.began), count(&settings.ended)), (7, 7));
    });
}

#[test]
fn both_addresses_of_a_connection_are_known() {
    each_server(|_, builder| {
        let server = builder(Settings::default()).start().expect("it starts");
        let mut client = connect(&server);
        assert_eq!(line(&mut client), "+hello");
        let (mine, its) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
        // The listener's own address stands for all of this machine's.
        let known = format!("{} {}", Peer::Tcp(mine), Peer::Tcp(its));
        assert_eq!(call(&mut client, "addresses\n"), format!("${known}"));
        stop(server);
    });
}
