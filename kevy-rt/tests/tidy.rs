//! Rules of style that a reader can't be left to check: the runtime knows no protocol, `unsafe` has
//! one address, every file opens by saying what it is.

use std::fs;
use std::path::{Path, PathBuf};

const PROTOCOL_WORDS: [&str; 7] = ["redis", "resp", "resp2", "resp3", "memcached", "lpush", "mget"];

fn files(under: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(under).expect("the folder is there") {
        let path = entry.expect("an entry is read").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut found);
    found.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a source is text");
        (path, text)
    };
    found.into_iter().map(read).collect()
}

fn words(line: &str) -> impl Iterator<Item = String> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_lowercase)
}

#[test]
fn the_runtime_knows_no_protocol() {
    for (path, text) in sources("src") {
        for (number, line) in text.lines().enumerate() {
            let known = words(line).find(|word| PROTOCOL_WORDS.contains(&word.as_str()));
            assert_eq!(known, None, "{}:{}", path.display(), number + 1);
        }
    }
}

#[test]
fn unsafe_has_one_address() {
    for (path, text) in sources("src") {
        let is_sys = path.components().any(|part| part.as_os_str() == "sys");
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let is_unsafe = words(code).any(|word| word == "unsafe");
            assert!(is_sys || !is_unsafe, "{}:{}", path.display(), number + 1);
        }
    }
}

#[test]
fn every_file_says_what_it_is() {
    for folder in ["src", "../kevy-rt-macros/src", "../protocols", "../examples", "../benches"] {
        for (path, text) in sources(folder) {
            let opens = text.lines().find(|line| !line.is_empty() && !line.starts_with("#!["));
            let says = opens.is_some_and(|line| line.starts_with("//!"));
            assert!(says, "{} opens without saying what it is", path.display());
        }
    }
}
