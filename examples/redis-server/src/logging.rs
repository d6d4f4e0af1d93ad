//! The log: lines on the standard output, or in a file.

use std::fs::OpenOptions;
use std::io;
use std::sync::Mutex;

use kevy_redis::config::{Config, LogLevel};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt;

/// Opens the log that the configuration asks for.
///
/// # Errors
/// When its file can't be opened.
pub(crate) fn start(config: &Config) -> io::Result<()> {
    // What can't be logged is lost: nobody may read the standard error either, and a shard that
    // panicked over it would end the server.
    let log = fmt()
        .with_max_level(level(config.log_level()))
        .with_target(false)
        .log_internal_errors(false);
    match config.log_file() {
        None => log.init(),
        Some(path) => {
            let file = OpenOptions::new().create(true).append(true).open(path)?;
            log.with_ansi(false).with_writer(Mutex::new(file)).init();
        }
    }
    Ok(())
}

fn level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::TRACE,
        LogLevel::Verbose => LevelFilter::DEBUG,
        LogLevel::Notice => LevelFilter::INFO,
        LogLevel::Warning => LevelFilter::WARN,
    }
}
