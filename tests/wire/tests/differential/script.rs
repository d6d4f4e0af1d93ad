//! Scripts: commands a line each, run against both servers and compared line by line.
//!
//! ```text
//! # a comment
//! SET key "a value"        the same bytes
//! sorted KEYS *            the same elements in any order
//! ~1 TTL key               numbers at most 1 apart
//! shape TIME               the same types
//! ! CLIENT REPLY OFF       sent; no reply is waited for
//! reconnect                both connections are opened anew
//! other SET key 1          sent by another client than the rest
//! ```
//!
//! The words of a line are those of [`words`]. A script starts on an empty server and a new
//! connection; where the server closes the connection both have to, and a new one is opened.

use kevy_wire_tests::{Both, Client, Failure, Outcome, matrix, words};

use crate::compare::{Report, View, describe};

/// Runs a script in every setup and both protocols, on servers with these options.
pub(crate) fn run_with(options: &[(&str, &str)], script: &str) {
    let mut report = Report::default();
    for setup in matrix() {
        let both = Both::start(setup, options);
        for protocol in ["2", "3"] {
            if report.is_over() {
                break;
            }
            let mut run = Run::new(&both, protocol);
            run.script(script, &format!("{setup}, RESP{protocol}"), &mut report);
        }
    }
    report.finish();
}

/// Runs a script in every setup and both protocols.
pub(crate) fn run(script: &str) {
    run_with(&[], script);
}

/// One connection to each server.
pub(crate) struct Run<'a> {
    both: &'a Both,
    protocol: &'a str,
    oracle: Client,
    ours: Client,
    /// Those of the other client, once there is one.
    others: Option<(Client, Client)>,
}

impl<'a> Run<'a> {
    /// Connects to both, and empties them.
    pub(crate) fn new(both: &'a Both, protocol: &'a str) -> Self {
        let (oracle, ours) = both.connect();
        let mut run = Self { both, protocol, oracle, ours, others: None };
        run.reconnect();
        // Neither has to be allowed: a script may begin unauthenticated.
        let _ = run.outcomes(&words("FLUSHALL"));
        run
    }

    /// Opens both connections anew.
    pub(crate) fn reconnect(&mut self) {
        (self.oracle, self.ours) = self.both.connect();
        if self.protocol == "3" {
            let _ = self.outcomes(&words("HELLO 3"));
        }
    }

    /// Sends a command to both and waits for both replies.
    pub(crate) fn outcomes(&mut self, command: &[Vec<u8>]) -> (Outcome, Outcome) {
        self.send(command);
        (self.oracle.receive(), self.ours.receive())
    }

    /// Lets another client send a command to both, and waits for both replies.
    pub(crate) fn other_outcomes(&mut self, command: &[Vec<u8>]) -> (Outcome, Outcome) {
        self.exchange_clients();
        let outcomes = self.outcomes(command);
        self.exchange_clients();
        outcomes
    }

    fn exchange_clients(&mut self) {
        let others = self.others.get_or_insert_with(|| self.both.connect());
        std::mem::swap(&mut self.oracle, &mut others.0);
        std::mem::swap(&mut self.ours, &mut others.1);
    }

    /// Sends commands to both in one piece and waits for all replies.
    pub(crate) fn pipeline(&mut self, commands: &[Vec<Vec<u8>>]) -> Vec<(Outcome, Outcome)> {
        let bytes: Vec<u8> = commands.iter().flat_map(kevy_wire_tests::encode).collect();
        // A server that has closed shows it by its missing replies.
        let _ = self.oracle.send_raw(&bytes);
        let _ = self.ours.send_raw(&bytes);
        commands.iter().map(|_| (self.oracle.receive(), self.ours.receive())).collect()
    }

    fn send(&mut self, command: &[Vec<u8>]) {
        let bytes = kevy_wire_tests::encode(command);
        let _ = self.oracle.send_raw(&bytes);
        let _ = self.ours.send_raw(&bytes);
    }

    fn script(&mut self, script: &str, setup: &str, report: &mut Report) {
        for line in script.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') || report.is_over() {
                continue;
            }
            match line.split_once(' ') {
                None if line == "reconnect" => self.reconnect(),
                Some(("other", command)) => {
                    self.exchange_clients();
                    self.line(View::Exact, command, setup, report);
                    self.exchange_clients();
                }
                Some(("!", command)) => self.send(&words(command)),
                Some(("sorted", command)) => self.line(View::Sorted, command, setup, report),
                Some(("shape", command)) => self.line(View::Shape, command, setup, report),
                Some((near, command)) if near.starts_with('~') => {
                    let slack = near[1..].parse().expect("a number after the tilde");
                    self.line(View::Near(slack), command, setup, report);
                }
                _ => self.line(View::Exact, line, setup, report),
            }
        }
    }

    fn line(&mut self, view: View, command: &str, setup: &str, report: &mut Report) {
        let (oracle, ours) = self.outcomes(&words(command));
        if !view.accepts(&oracle, &ours) {
            let (oracle, ours) = (describe(&oracle), describe(&ours));
            report.add(setup, format!("{command}\n  oracle {oracle}\n  ours   {ours}"));
        }
        if [&oracle, &ours].contains(&&Err(Failure::Silent)) {
            report.end();
        }
        if oracle.is_err() || ours.is_err() {
            self.reconnect();
        }
    }
}
