//! Replies without what only one server says.

use std::collections::HashMap;

/// The unique numbers that one server has told, each known by when it was first told.
#[derive(Debug, Default)]
pub struct Numbers {
    known: HashMap<u64, usize>,
    told: Vec<u64>,
}

impl Numbers {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.told.len()
    }

    /// The number that was the `index`-th to be told; one that none is, if there aren't as many.
    #[must_use]
    pub fn told(&self, index: usize) -> u64 {
        self.told.get(index).copied().unwrap_or(u64::MAX >> 1)
    }

    fn name(&mut self, number: u64) -> String {
        // Which is no number of an item.
        if number == 0 {
            return "zero".to_owned();
        }
        let next = self.told.len();
        let index = *self.known.entry(number).or_insert(next);
        if index == next {
            self.told.push(number);
        }
        format!("<{index}>")
    }

    /// A reply in which unique numbers are named, and times rounded. Values must not look like
    /// what it replaces.
    pub fn normal(&mut self, reply: &[u8]) -> String {
        let text = String::from_utf8_lossy(reply);
        let lines = text.split("\r\n").map(|line| self.line(line));
        lines.collect::<Vec<_>>().join("\r\n")
    }

    fn line(&mut self, line: &str) -> String {
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        match words[0].as_str() {
            "VALUE" if words.len() == 5 => self.replace(&mut words[4], "", Self::name),
            "VERSION" => words.truncate(1),
            "VA" | "HD" | "NS" | "EX" | "NF" => {
                for word in &mut words[1..] {
                    self.replace(word, "c", Self::name);
                    self.replace(word, "t", |_, left_s| rounded(left_s));
                    self.replace(word, "l", |_, idle_s| short(idle_s));
                }
            }
            "ME" => {
                for word in &mut words[1..] {
                    self.replace(word, "cas=", Self::name);
                    self.replace(word, "exp=-", |_, left_s| rounded(left_s));
                    self.replace(word, "la=", |_, idle_s| short(idle_s));
                    // All of our items are of one class.
                    self.replace(word, "cls=", |_, _| String::new());
                }
            }
            _ => {}
        }
        words.join(" ")
    }

    fn replace(&mut self, word: &mut String, head: &str, with: fn(&mut Self, u64) -> String) {
        if let Some(number) = word.strip_prefix(head).and_then(|number| number.parse().ok()) {
            *word = head.to_owned() + &with(self, number);
        }
    }
}

/// Seconds until something expires: some may have gone by.
fn rounded(left_s: u64) -> String {
    format!("~{}", left_s.div_ceil(50) * 50)
}

/// Seconds since something was used, which was just now.
fn short(idle_s: u64) -> String {
    if idle_s < 30 { "now".to_owned() } else { idle_s.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_known_again() {
        let mut numbers = Numbers::default();
        let reply = b"VALUE a 1 2 77\r\nAB\r\nEND\r\nHD c78 t99 l1 kc5\r\nNS c0\r\nHD c77\r\n";
        let normal = numbers.normal(reply);
        assert_eq!(
            normal,
            "VALUE a 1 2 <0>\r\nAB\r\nEND\r\nHD c<1> t~100 lnow kc5\r\nNS czero\r\nHD c<0>\r\n"
        );
        assert_eq!((numbers.count(), numbers.told(1)), (2, 78));
    }
}
