//! The guide's chapters as documentation, so that `cargo test` compiles each block of code in them, and
//! runs those that need no socket. The README's is compiled with them.
#![forbid(unsafe_code)]

/// What blocks have in common, and don't repeat.
pub mod prelude {
    pub use std::collections::HashMap;
    use std::ops::{Deref, DerefMut};

    pub use kevy_resp::{Frame, Resp, Writer};
    pub use kevy_rt::{Cx, Key, Reply, Store, TestShard, Tx, commands, server};

    /// Keys with values, both of any bytes.
    #[derive(Debug, Default, Store)]
    pub struct Map(HashMap<Box<[u8]>, Box<[u8]>>);

    impl Deref for Map {
        type Target = HashMap<Box<[u8]>, Box<[u8]>>;

        fn deref(&self) -> &Self::Target {
            &self.0
        }
    }

    impl DerefMut for Map {
        fn deref_mut(&mut self) -> &mut Self::Target {
            &mut self.0
        }
    }
}

/// Takes chapters in, each as a module.
macro_rules! chapters {
    ($($name:ident: $path:literal),* $(,)?) => {
        $(
            #[doc = include_str!($path)]
            pub mod $name {}
        )*

        #[cfg(test)]
        const CHAPTERS: &[(&str, &str)] = &[$(($path, include_str!($path))),*];
    };
}

chapters! {
    readme: "../../README.md",
    introduction: "src/introduction.md",
    first_server: "src/first-server.md",
    routes: "src/routes.md",
    arguments: "src/arguments.md",
    gathers: "src/gathers.md",
    transactions: "src/transactions.md",
    wires: "src/wires.md",
    sessions: "src/sessions.md",
    composition: "src/composition.md",
    services: "src/services.md",
    guarantees: "src/guarantees.md",
    limits: "src/limits.md",
    io_uring: "src/io-uring.md",
    tuning: "src/tuning.md",
    metrics: "src/metrics.md",
    testing: "src/testing.md",
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    const SUMMARY: &str = include_str!("src/SUMMARY.md");

    /// What stands behind `](` in a text.
    fn links(text: &str) -> impl Iterator<Item = &str> {
        text.split("](").skip(1).filter_map(|rest| rest.split(')').next())
    }

    /// A heading as links name it.
    fn anchor(heading: &str) -> String {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.collect::<String>().trim().to_lowercase().replace(' ', "-")
    }

    /// The headings of a text, code left out.
    fn headings(text: &str) -> Vec<&str> {
        let mut is_code = false;
        let mut prose = |line: &&str| {
            is_code ^= line.starts_with("```");
            !is_code
        };
        let lines = text.lines().filter(|line| prose(line));
        lines.filter_map(|line| line.strip_prefix('#')?.split_once(' ')).map(|(_, h)| h).collect()
    }

    #[test]
    fn every_chapter_is_in_the_summary_and_compiled() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let files = fs::read_dir(folder).expect("the chapters are there");
        let names = files.map(|file| file.expect("it is read").file_name());
        for name in names.map(|name| name.into_string().expect("it is text")) {
            let is_compiled = CHAPTERS.iter().any(|(path, _)| path.ends_with(&format!("/{name}")));
            let is_listed = links(SUMMARY).any(|link| link == name);
            assert!(name == "SUMMARY.md" || is_compiled && is_listed, "{name}");
        }
    }

    #[test]
    fn every_link_leads_somewhere() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        for (path, text) in CHAPTERS.iter().copied().chain([("src/SUMMARY.md", SUMMARY)]) {
            let file = folder.join(path);
            let here = file.parent().expect("a file is in a folder");
            for link in links(text).filter(|link| !link.contains("://")) {
                let (target, heading) = link.split_once('#').unwrap_or((link, ""));
                let target = if target.is_empty() { file.clone() } else { here.join(target) };
                assert!(target.exists(), "{path}: {link}");
                if !heading.is_empty() {
                    let there = fs::read_to_string(&target).expect("it is text");
                    let found = headings(&there).into_iter().any(|h| anchor(h) == heading);
                    assert!(found, "{path}: {link}");
                }
            }
        }
    }

    #[test]
    fn every_block_says_what_it_is() {
        for (path, text) in CHAPTERS {
            let mut is_open = false;
            for fence in text.lines().filter(|line| line.starts_with("```")) {
                is_open = !is_open;
                let says = fence.trim_start_matches('`');
                assert_eq!(is_open, !says.is_empty(), "{path}: {fence}");
                assert!(!says.contains("ignore"), "{path}: a block that nobody compiles");
            }
        }
    }
}
