//! Queues of requests over several shards whose client leaves.

use kevy_redis::Redis;
use kevy_redis::config::Config;
use kevy_rt::Limits;
use kevy_rt::sim::Simulation;

fn key(server: &Simulation<Redis>, owner: usize) -> String {
    let mut keys = (0..).map(|number| format!("key{number}"));
    keys.find(|key| server.owner(key.as_bytes()) == owner).expect("each shard owns some")
}

/// ```text
/// 0  MULTI, GET b, SELECT 1, SET a v, EXEC    2: GET ran ... SELECT 1   1: SET in database 1
/// 0  is gone                                            before that
/// ```
#[test]
fn a_queue_selects_its_database_though_its_client_has_left() {
    let mut server = Simulation::<Redis>::scripted(&Config::default().into(), 3, Limits::default());
    let client = server.connect(0);
    server.step_shard(0);
    assert_eq!(server.home(client), Some(0));
    let (a, b) = (key(&server, 1), key(&server, 2));
    let queue = format!("MULTI\r\nGET {b}\r\nSELECT 1\r\nSET {a} v\r\nEXEC\r\n");
    server.send(client, queue.as_bytes());
    for shard in [0, 1, 2, 0] {
        server.step_shard(shard);
    }
    server.hold(2, 0, true);
    server.step_shard(2);
    server.disconnect(client);
    for shard in [0, 0] {
        server.step_shard(shard);
    }
    server.hold(2, 0, false);
    server.run();
    assert!(server.is_closed(client));
    let other = server.connect(0);
    let found = server.call(other, format!("GET {a}\r\nSELECT 1\r\nGET {a}\r\n").as_bytes());
    assert_eq!(String::from_utf8_lossy(&found), "$-1\r\n+OK\r\n$1\r\nv\r\n");
    assert_eq!(server.open_sockets(), 1);
}
