//! A server within a program: the program starts it, talks to it, and stops it.
//!
//! ```text
//! cargo run --release -p embedded
//! ```

use std::collections::HashMap;
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use kevy_resp::Resp;
use kevy_rt::{Builder, Key, Store, commands, server};

/// One shard's words with their counts.
#[derive(Default, Store)]
struct Words(HashMap<Box<[u8]>, u64>);

/// The command set.
struct Counting;

#[commands(store = Words, wire = Resp)]
impl Counting {
    /// Counts words, wherever they are; answers how many of them are new.
    #[command(route = keys(1..), write, gather = sum)]
    fn count(db: &mut Words, word: Key<'_>) -> u64 {
        let count = db.0.entry(word.bytes().into()).or_default();
        *count += 1;
        u64::from(*count == 1)
    }

    /// The highest count of any word.
    #[command(route = all, gather = max)]
    fn highest(db: &Words) -> u64 {
        db.0.values().copied().max().unwrap_or(0)
    }
}

server! { Server: store = Words, ports = [ Resp, () => [Counting] ] }

/// Sends a line, and reads the one that comes back.
fn ask(server: &mut BufReader<TcpStream>, line: &str) -> Result<String, std::io::Error> {
    writeln!(server.get_mut(), "{line}\r")?;
    let mut reply = String::new();
    server.read_line(&mut reply)?;
    Ok(reply.trim_end().to_owned())
}

fn main() -> Result<(), Box<dyn Error>> {
    // Port 0 is any that is free. The program keeps its own way with signals.
    let server = Builder::<Server>::new(())
        .shards(2)
        .signals(false)
        .listen(0, ([127, 0, 0, 1], 0))
        .start()?;
    let address = server.process().listeners()[0].at.address().ok_or("it is a TCP address")?;

    let mut connection = BufReader::new(TcpStream::connect(address)?);
    println!("new words: {}", ask(&mut connection, "count to be or not to be")?);
    println!("highest count: {}", ask(&mut connection, "highest")?);

    // What was sent before is answered before it ends.
    server.process().stop();
    server.join()?;
    println!("stopped");
    Ok(())
}
