//! `redis-server`: the Redis server of kevy-redis as a program.
//!
//! It reads its configuration, opens log and pidfile, starts the shards and waits for their end:
//! by SHUTDOWN, SIGTERM or SIGINT. It exits with 0 after an orderly end and with 1 after an error.
#![forbid(unsafe_code)]

mod listen;
mod logging;
mod pid_file;
mod usage;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use kevy_http::{Http, Status};
use kevy_redis::RedisSets;
use kevy_redis::config::Config;
use kevy_redis::configuration::log_settings_without_effect;
use kevy_redis::connection::REDIS_VERSION;
use kevy_redis::session::Session;
use kevy_redis::store::Store;
use kevy_resp::Resp;
use kevy_rt::{Builder, Error, Listen, Runtime, server};
use tracing::{error, info, warn};

use crate::pid_file::PidFile;

server! {
    /// The Redis server, and a port that shows how it is.
    Server: store = Store, ports = [
        Resp, Session => [RedisSets];
        Http, () => [Status]
    ]
}

/// The ports, in the order of the server's list.
const REDIS: usize = 0;
const HTTP: usize = 1;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(text) = arguments.first().and_then(|first| usage::answer(first)) {
        print!("{text}");
        return ExitCode::SUCCESS;
    }
    if let [option, directory] = arguments.as_slice()
        && option == "--reference"
    {
        return write_reference(Path::new(directory));
    }
    let config = match configure(arguments) {
        Ok(config) => config,
        Err(complaint) => {
            eprintln!("{complaint}");
            return ExitCode::FAILURE;
        }
    };
    match serve(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(complaint) => {
            error!("{complaint}");
            if config.log_file().is_some() {
                eprintln!("{complaint}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Writes what the commands are into a directory.
fn write_reference(directory: &Path) -> ExitCode {
    match kevy_redis::reference().write(directory, "redis") {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Can't write the reference to {}: {error}", directory.display());
            ExitCode::FAILURE
        }
    }
}

/// Reads the configuration, goes to its directory and opens its log.
fn configure(arguments: Vec<OsString>) -> Result<Config, String> {
    let mut config = Config::from_arguments(arguments).map_err(|error| {
        format!("\n*** FATAL CONFIG FILE ERROR (Redis {REDIS_VERSION}) ***\n{error}")
    })?;
    config.enter_dir().map_err(|error| format!("Can't enter the directory `dir`: {error}"))?;
    logging::start(&config).map_err(|error| format!("Can't open the log file: {error}"))?;
    Ok(config)
}

/// Serves until the server is stopped.
fn serve(config: &Config) -> Result<(), String> {
    info!("{}, process {}", usage::version(), std::process::id());
    match config.file() {
        Some(file) => info!("configuration read from {}", file.display()),
        None => info!("no configuration file: defaults and the command line"),
    }
    log_settings_without_effect(config);
    let pid_file = config.pid_file().map(PidFile::write).transpose();
    let pid_file = pid_file.map_err(|error| format!("Can't write the pidfile: {error}"))?;
    let runtime = match start(config) {
        Ok(runtime) => runtime,
        Err(complaint) => {
            if let Some(pid_file) = pid_file {
                pid_file.put_back();
            }
            return Err(complaint);
        }
    };
    info!("Ready to accept connections");
    let ended = match runtime.join() {
        // Who asks for an end gets it, whatever clients left unread.
        Err(error @ Error::Undrained { .. }) => {
            warn!("{error}");
            Ok(())
        }
        ended => ended.map_err(|error| error.to_string()),
    };
    info!("bye");
    ended
}

fn start(config: &Config) -> Result<Runtime, String> {
    let mut builder = Builder::<Server>::new(config.clone().into())
        .reactor(config.reactor())
        .limits(config.limits())
        .accept_queue(config.accept_queue())
        .keepalive_s(config.keepalive_s());
    if let Some(shards) = config.shards() {
        builder = builder.shards(shards);
    }
    if !config.pins_shards() {
        builder = builder.pin(false);
    }
    for at in listen::addresses(config)? {
        builder = builder.listen(REDIS, at);
    }
    if let Some(at) = config.http() {
        info!("metrics and a status page at http://{at}/");
        builder = builder.listen(HTTP, Listen::Tcp(at));
    }
    builder.start().map_err(|error| error.to_string())
}
