//! A subcommand of one's own beside those of the Redis server is one function and one attribute:
//! clients are told of it wherever they are told of commands.

use kevy_redis::client::Client;
use kevy_redis::config::Config;
use kevy_redis::connection::Connection;
use kevy_redis::info::Info;
use kevy_redis::introspection::Introspection;
use kevy_redis::session::Session;
use kevy_redis::store::Store;
use kevy_resp::Resp;
use kevy_rt::reference::Reference;
use kevy_rt::sim::Simulation;
use kevy_rt::{commands, server};

struct Greeting;

#[commands(store = Store, wire = Resp)]
impl Greeting {
    /// Greets somebody.
    #[command(route = local, name = "CLIENT GREET", group = "connection", flags(fast))]
    fn greet(name: &[u8], #[token("TIMES")] times: Option<u64>) -> String {
        let greeting = format!("hello {} ", String::from_utf8_lossy(name));
        greeting.repeat(times.unwrap_or(1).min(3) as usize)
    }
}

server! {
    Server: store = Store, ports = [
        Resp, Session => [Connection, Client, Introspection, Info, Greeting]
    ]
}

#[test]
fn a_subcommand_shows_up_everywhere() {
    let mut server = Simulation::<Server>::new(&Config::default().into(), 2, 1);
    let client = server.connect(0);
    let mut call = |line: &str| {
        let reply = server.call(client, format!("{line}\r\n").as_bytes());
        String::from_utf8_lossy(&reply).into_owned()
    };
    assert_eq!(call("CLIENT GREET ann"), "$10\r\nhello ann \r\n");
    assert_eq!(call("client greet ann times 2"), "$20\r\nhello ann hello ann \r\n");
    let error = "-ERR wrong number of arguments for 'client|greet' command\r\n";
    assert_eq!(call("CLIENT GREET"), error);

    for (question, told) in [
        ("COMMAND DOCS client|greet", "Greets somebody."),
        ("COMMAND DOCS client", "client|greet"),
        ("COMMAND INFO client", "client|greet"),
        ("COMMAND LIST FILTERBY ACLCAT connection", "client|greet"),
        ("CLIENT HELP", "+GREET name [TIMES times]\r\n+    Greets somebody.\r\n+HELP\r\n"),
        ("INFO commandstats", "cmdstat_client|greet:calls=2,"),
    ] {
        let reply = call(question);
        assert!(reply.contains(told), "{question}: {reply}");
    }
    let reference = Reference::of::<Server>(0);
    let entry =
        "### CLIENT GREET\n\n```text\nCLIENT GREET name [TIMES times]\n```\n\nGreets somebody.";
    assert!(reference.markdown("a test").contains(entry));
    assert!(reference.json().contains("{\"name\": \"CLIENT GREET\", "));
}
