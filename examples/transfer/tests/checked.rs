//! Transfers of many clients between few accounts, on several simulated shards: strictly
//! serializable, and no amount is lost.

use kevy_checker::{Action, History, Operation, Verdict, check};
use kevy_rt::sim::Simulation;
use transfer::Bank;

const ACCOUNTS: u64 = 5;
const CLIENTS: usize = 8;
const TRANSFERS: usize = 600;

fn request(words: &[String]) -> Vec<u8> {
    let words: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    format!("*{}\r\n{words}", words.matches('$').count()).into_bytes()
}

/// The numbers of a reply that is a list of them.
fn numbers(reply: &[u8]) -> Vec<u64> {
    let text = std::str::from_utf8(reply).expect("replies are text");
    text.lines().filter_map(|line| line.strip_prefix(':')?.parse().ok()).collect()
}

#[test]
fn transfers_are_strictly_serializable() {
    for shards in [1, 2, 3, 5] {
        for seed in 0..6 {
            let mut server = Simulation::<Bank>::new(&(), shards, seed);
            let mut operations = Vec::new();
            let clients: Vec<_> = (0..CLIENTS).map(|_| server.connect(0)).collect();
            let start = |account: u64| (1 << 40) + account;
            for account in 0..ACCOUNTS {
                let words = ["open".into(), format!("a{account}"), start(account).to_string()];
                assert_eq!(server.call(clients[0], &request(&words)), b"+OK\r\n");
                let write = Action::Write { key: account as u32, value: start(account) };
                operations.push(Operation {
                    client: 0,
                    sent: 0,
                    replied: Some(1),
                    actions: vec![write],
                });
            }
            let mut clock = 1;
            let mut open: Vec<Option<(u64, u64, u64, u64)>> = vec![None; CLIENTS];
            let mut done = 0;
            while done < TRANSFERS || open.iter().any(Option::is_some) {
                server.step();
                clock += 1;
                for (client, open) in open.iter_mut().enumerate() {
                    match *open {
                        None if done >= TRANSFERS => {}
                        None => {
                            // An amount that makes every balance another one.
                            let amount = server.random() >> 28;
                            let from = server.random() % ACCOUNTS;
                            let to = (from + 1 + server.random() % (ACCOUNTS - 1)) % ACCOUNTS;
                            let words = [
                                "transfer".into(),
                                format!("a{from}"),
                                format!("a{to}"),
                                amount.to_string(),
                            ];
                            server.send(clients[client], &request(&words));
                            *open = Some((clock, from, to, amount));
                        }
                        Some((sent, from, to, amount)) if server.has_output(clients[client]) => {
                            let reply = server.receive(clients[client]);
                            *open = None;
                            done += 1;
                            let [left, sum] = numbers(&reply)[..] else {
                                assert!(reply.starts_with(b"-ERR no such account, or too little"));
                                continue;
                            };
                            let read = |key, value| Action::Read { key, value: Some(value) };
                            let write = |key, value| Action::Write { key, value };
                            let (from, to) = (from as u32, to as u32);
                            let actions = vec![
                                read(from, left + amount),
                                read(to, sum - amount),
                                write(from, left),
                                write(to, sum),
                            ];
                            let client = client as u32;
                            operations.push(Operation {
                                client,
                                sent,
                                replied: Some(clock),
                                actions,
                            });
                        }
                        Some(_) => {}
                    }
                }
            }
            server.run();
            let mut words = vec!["balance".to_owned()];
            words.extend((0..ACCOUNTS).map(|account| format!("a{account}")));
            clients.iter().for_each(|&client| drop(server.receive(client)));
            let sum: u64 = numbers(&server.call(clients[0], &request(&words))).iter().sum();
            assert_eq!(sum, (0..ACCOUNTS).map(start).sum::<u64>(), "{shards} shards, seed {seed}");
            let verdict = check(&History::from(operations));
            assert_eq!(verdict, Verdict::Serializable, "{shards} shards, seed {seed}");
        }
    }
}
