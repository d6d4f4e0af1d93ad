//! SIGTERM and SIGINT stop the server. A SIGINT while it is being stopped ends the process at once.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;

use signal_hook::SigId;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::{register, register_conditional_default, register_conditional_shutdown};
use signal_hook::iterator::{Handle, Signals as Arrivals};
use signal_hook::low_level::unregister;

use crate::runtime::Process;

/// How a process ends that is not let finish.
const EXIT_AT_ONCE: i32 = 1;

/// The thread that waits for signals.
#[derive(Debug)]
pub(crate) struct Signals {
    arrivals: Handle,
    thread: Option<JoinHandle<()>>,
    flags: Vec<SigId>,
    _served: Served,
}

impl Signals {
    pub(super) fn install(process: Arc<Process>) -> io::Result<Self> {
        let served = Served::begin()?;
        let mut arrivals = Arrivals::new([SIGTERM, SIGINT])?;
        let mut signals = Signals {
            arrivals: arrivals.handle(),
            thread: None,
            flags: Vec::new(),
            _served: served,
        };
        let is_stopping = Arc::new(AtomicBool::new(false));
        // What a signal does is done in this order: the first one finds the flag down.
        let shutdown = register_conditional_shutdown(SIGINT, EXIT_AT_ONCE, is_stopping.clone())?;
        signals.flags.push(shutdown);
        for signal in [SIGINT, SIGTERM] {
            signals.flags.push(register(signal, is_stopping.clone())?);
        }
        let wait = move || {
            for signal in &mut arrivals {
                // First what counts: a log that nobody reads any more may panic.
                process.stop();
                tracing::info!(signal, "told to stop");
            }
        };
        signals.thread = Some(std::thread::Builder::new().name("signals".into()).spawn(wait)?);
        Ok(signals)
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.arrivals.close();
        for flag in self.flags.drain(..) {
            unregister(flag);
        }
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join)
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

/// Says that a server is there to be stopped. While there is none, the signals do what they do by
/// default: a handler once installed stays, and would swallow them.
#[derive(Debug)]
struct Served;

static IS_UNSERVED: AtomicBool = AtomicBool::new(false);
static SERVED: Mutex<usize> = Mutex::new(0);

impl Served {
    fn begin() -> io::Result<Self> {
        static DEFAULTS: OnceLock<Result<(), i32>> = OnceLock::new();
        let install = || {
            [SIGTERM, SIGINT].into_iter().try_for_each(|signal| {
                let installed = register_conditional_default(signal, &IS_UNSERVED);
                installed.map(drop).map_err(|error| error.raw_os_error().unwrap_or(libc::EINVAL))
            })
        };
        DEFAULTS.get_or_init(install).map_err(io::Error::from_raw_os_error)?;
        Served::count(|served| served + 1);
        Ok(Served)
    }

    fn count(change: fn(usize) -> usize) {
        let mut served = SERVED.lock().unwrap_or_else(|held| held.into_inner());
        *served = change(*served);
        IS_UNSERVED.store(*served == 0, Ordering::SeqCst);
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        Served::count(|served| served - 1);
    }
}
