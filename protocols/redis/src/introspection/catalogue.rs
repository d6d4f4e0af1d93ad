//! The commands as clients know them: verbs with their subcommands, in lower case, `client|list`.

use kevy_resp::Resp;
use kevy_rt::{Args, CommandInfo, Cx, KeyRange, KeySpec, LastKey, Queueing, Span};

/// Whether clients are not told of it.
pub(crate) fn is_hidden(command: &CommandInfo) -> bool {
    command.has_flag("hidden")
}

/// A verb: a command, a container of subcommands, or both.
#[derive(Clone, Debug)]
pub(super) struct Verb {
    /// In lower case.
    pub(super) name: String,
    /// `None` for a container only.
    pub(super) command: Option<&'static CommandInfo>,
    pub(super) subcommands: Vec<&'static CommandInfo>,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Named<'a> {
    Verb(&'a Verb),
    Subcommand(&'static CommandInfo),
}

/// All commands of the server.
#[derive(Debug)]
pub(super) struct Catalogue(Vec<Verb>);

impl Catalogue {
    pub(super) fn of(cx: &Cx<'_>) -> Self {
        Catalogue::new(cx.server().commands_over::<Resp>().map(|(command, _)| command))
    }

    fn new(commands: impl Iterator<Item = &'static CommandInfo>) -> Self {
        let mut verbs: Vec<Verb> = Vec::new();
        for command in commands.filter(|command| !is_hidden(command)) {
            let name = command.verb().to_ascii_lowercase();
            let at = verbs.iter().position(|verb| verb.name == name).unwrap_or_else(|| {
                verbs.push(Verb { name, command: None, subcommands: Vec::new() });
                verbs.len() - 1
            });
            match command.subcommand() {
                Some(_) => verbs[at].subcommands.push(command),
                None => verbs[at].command = Some(command),
            }
        }
        Catalogue(verbs)
    }

    pub(super) fn verbs(&self) -> &[Verb] {
        &self.0
    }

    /// Finds `get`, `client` or `client|list`.
    pub(super) fn find(&self, name: &[u8]) -> Option<Named<'_>> {
        let (verb, subcommand) = match name.iter().position(|byte| *byte == b'|') {
            Some(bar) => (&name[..bar], Some(&name[bar + 1..])),
            None => (name, None),
        };
        let is = |name: &str, wanted: &[u8]| wanted.eq_ignore_ascii_case(name.as_bytes());
        let verb = self.0.iter().find(|known| is(&known.name, verb))?;
        let Some(wanted) = subcommand else { return Some(Named::Verb(verb)) };
        let mut subcommands = verb.subcommands.iter().copied();
        let found = subcommands.find(|known| known.subcommand().is_some_and(|it| is(it, wanted)));
        found.map(Named::Subcommand)
    }

    /// The command that a whole request is for.
    pub(super) fn command_of(&self, request: &[&[u8]]) -> Option<&'static CommandInfo> {
        let (verb, arguments) = request.split_first()?;
        let Named::Verb(known) = self.find(verb)? else { return None };
        match arguments.first() {
            Some(subcommand) if !known.subcommands.is_empty() => {
                match self.find(&[verb, &b"|"[..], subcommand].concat())? {
                    Named::Subcommand(command) => Some(command),
                    Named::Verb(_) => None,
                }
            }
            _ => known.command,
        }
    }
}

/// Its name, as replies have it.
pub(super) fn full_name(command: &CommandInfo) -> String {
    command.name.to_ascii_lowercase().replace(' ', "|")
}

/// As many arguments as it takes, or the negative of the fewest.
pub(super) fn arity(command: &CommandInfo) -> i64 {
    let fewest = command.min as i64;
    if command.min == command.max { fewest } else { -fewest }
}

/// Redis's flags: those that follow from the declaration, and those that it says.
pub(super) fn flags(command: &CommandInfo) -> Vec<&'static str> {
    let implied = match () {
        () if command.write && !command.has_flag("admin") => Some("write"),
        () if has_keys(command) && !is_about_queue(command) => Some("readonly"),
        () => None,
    };
    let finds_keys = has_movable_keys(command).then_some("movablekeys");
    let is_refused = (command.queueing == Queueing::Never).then_some("no_multi");
    let said = command.flags.iter().copied().filter(|flag| Some(*flag) != implied);
    implied.into_iter().chain(said).chain(finds_keys).chain(is_refused).collect()
}

/// Whether it names keys and reads none.
fn is_about_queue(command: &CommandInfo) -> bool {
    command.fact("group") == Some("transactions")
}

/// Where its keys are: first, last (from the end if negative) and step; zeros if it has none, or if
/// a request has to be read to know.
pub(super) fn first_last_step(command: &CommandInfo) -> (i64, i64, i64) {
    let range = |range: KeyRange| match range.last {
        LastKey::At(last) => Some((range.first.into(), last.into(), range.step.into())),
        LastKey::Counted(_) => None,
    };
    // Keys that stand apart are as far from each other.
    let apart = |all: (i64, i64, i64), at: u16| match all {
        (first, last, _) if first == last => (first, at.into(), i64::from(at) - first),
        (first, _, step) => (first, at.into(), step),
    };
    let mut all: Option<(i64, i64, i64)> = None;
    for spec in command.route.keys() {
        let next = match (spec, all) {
            (KeySpec::At(at), None) => Some((at.into(), at.into(), 1)),
            (KeySpec::At(at), Some(all)) => Some(apart(all, at)),
            (KeySpec::Range(keys), None) => range(keys),
            (KeySpec::Range(_) | KeySpec::Found(_), _) => None,
        };
        let Some(next) = next else { break };
        all = Some(next);
    }
    all.unwrap_or_default()
}

/// Whether a request has to be read to know all of its keys.
fn has_movable_keys(command: &CommandInfo) -> bool {
    command.route.keys().any(|spec| match spec {
        KeySpec::Found(_) => true,
        KeySpec::Range(range) => matches!(range.last, LastKey::Counted(_)),
        KeySpec::At(_) => false,
    })
}

/// Whether a request of it may name keys.
pub(super) fn has_keys(command: &CommandInfo) -> bool {
    command.route.keys().next().is_some()
}

/// The keys of a request, as it is routed by.
pub(super) fn keys<'a>(command: &CommandInfo, request: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let (buffer, mut spans) = (request.concat(), Vec::with_capacity(request.len()));
    for word in request {
        let at = spans.last().map_or(0, |span: &Span| (span.off + span.len) as usize);
        spans.push(Span::new(at, word.len()));
    }
    let mut named = Vec::new();
    command.route.each_key(Args::new(&buffer, &spans, &[]), |at| named.push(request[at]));
    named
}

/// What it does with its keys: with all of them, or with each if that is not the same.
pub(super) fn key_flags(command: &CommandInfo) -> Vec<Vec<&'static str>> {
    match command.fact("key_flags") {
        Some(flags) => flags.split(';').map(|flags| flags.split(',').collect()).collect(),
        None if command.write => vec![vec!["RW", "update"]],
        None => vec![vec!["RO", "access"]],
    }
}

/// The categories of Redis's access control: from its group, its flags and what it says.
pub(super) fn categories(command: &CommandInfo) -> Vec<&'static str> {
    let flags = flags(command);
    let has = |flag: &str| flags.contains(&flag);
    let mut categories: Vec<&'static str> = match command.fact("group") {
        Some("generic") => vec!["keyspace"],
        Some("sorted-set") => vec!["sortedset"],
        Some("transactions") => vec!["transaction"],
        Some("server" | "cluster") | None => Vec::new(),
        Some(group) => vec![group],
    };
    categories.extend(command.fact("categories").into_iter().flat_map(|more| more.split(',')));
    for (flag, category) in [
        ("write", "write"),
        ("readonly", "read"),
        ("admin", "admin"),
        ("admin", "dangerous"),
        ("pubsub", "pubsub"),
        ("blocking", "blocking"),
    ] {
        if has(flag) {
            categories.push(category);
        }
    }
    categories.push(if has("fast") { "fast" } else { "slow" });
    let mut seen = Vec::new();
    categories.retain(|category| {
        let is_new = !seen.contains(category);
        seen.push(*category);
        is_new
    });
    categories
}

/// Hints for proxies and clients.
pub(super) fn tips(command: &CommandInfo) -> Vec<&'static str> {
    command.fact("tips").map_or(Vec::new(), |tips| tips.split(',').collect())
}

#[cfg(test)]
pub(crate) mod tests {
    use kevy_rt::{ArgInfo, ArgKind, MANY, Route};

    use super::*;

    pub(crate) const GET: CommandInfo = CommandInfo {
        name: "GET",
        set: "Strings",
        doc: "Get the value of a key",
        min: 2,
        max: 2,
        route: Route::Single(1),
        write: false,
        wake: None,
        barrier: false,
        queueing: kevy_rt::Queueing::Queued,
        flags: &["fast"],
        meta: &[("since", "1.0.0"), ("group", "string"), ("complexity", "O(1)")],
        arguments: &[ArgInfo::needed("key", ArgKind::Key)],
    };

    pub(crate) const MSET: CommandInfo = CommandInfo {
        name: "MSET",
        doc: "Set multiple keys to multiple values",
        min: 3,
        max: MANY,
        route: Route::Keys(KeyRange::spread(1, -1, 2)),
        write: true,
        flags: &["denyoom"],
        ..GET
    };

    pub(crate) const CLIENT_KILL: CommandInfo = CommandInfo {
        name: "CLIENT KILL",
        min: 3,
        max: MANY,
        route: Route::All { loose: true },
        flags: &["admin", "noscript"],
        meta: &[("group", "connection")],
        ..GET
    };

    pub(crate) const CLIENT_ID: CommandInfo =
        CommandInfo { name: "CLIENT ID", route: Route::Local, ..CLIENT_KILL };

    const POST: CommandInfo = CommandInfo { name: "POST", flags: &["hidden"], ..CLIENT_KILL };

    pub(crate) const RENAME: CommandInfo = CommandInfo {
        name: "RENAME",
        min: 3,
        max: 3,
        route: Route::Tx(&[KeySpec::At(1), KeySpec::At(2)]),
        write: true,
        flags: &[],
        meta: &[("group", "generic"), ("key_flags", "RW,access,delete;OW,update")],
        ..GET
    };

    const MSETNX: CommandInfo = CommandInfo {
        name: "MSETNX",
        route: Route::Tx(&[KeySpec::Range(KeyRange::spread(1, -1, 2))]),
        ..MSET
    };

    const FOUND: CommandInfo = CommandInfo {
        name: "FOUND",
        route: Route::Tx(&[KeySpec::Found(|args, found| found.extend(2..args.len()))]),
        queueing: Queueing::Never,
        ..MSET
    };

    pub(crate) const STORE_COUNTED: CommandInfo = CommandInfo {
        name: "STORE_COUNTED",
        route: Route::Tx(&[KeySpec::At(1), KeySpec::Range(KeyRange::counted(2))]),
        meta: &[("group", "sorted-set"), ("key_flags", "OW,update;RO,access")],
        ..MSET
    };

    const WATCH: CommandInfo = CommandInfo {
        name: "WATCH",
        route: Route::Keys(KeyRange::spread(1, -1, 1)),
        meta: &[("group", "transactions"), ("key_flags", "RO")],
        ..GET
    };

    fn catalogue() -> Catalogue {
        Catalogue::new([&GET, &CLIENT_KILL, &MSET, &POST, &CLIENT_ID].into_iter())
    }

    fn words(line: &str) -> Vec<&[u8]> {
        line.split(' ').map(str::as_bytes).collect()
    }

    #[test]
    fn verbs_hold_their_subcommands() {
        let catalogue = catalogue();
        let names: Vec<_> = catalogue.verbs().iter().map(|verb| verb.name.as_str()).collect();
        assert_eq!(names, ["get", "client", "mset"]);
        let find = |name: &str| match catalogue.find(name.as_bytes()) {
            Some(Named::Verb(verb)) => Some(verb.name.clone()),
            Some(Named::Subcommand(command)) => Some(full_name(command)),
            None => None,
        };
        assert_eq!(find("GET").as_deref(), Some("get"));
        assert_eq!(find("client").as_deref(), Some("client"));
        assert_eq!(find("Client|KILL").as_deref(), Some("client|kill"));
        for name in ["post", "client|foo", "get|foo", "", "|"] {
            assert_eq!(find(name), None, "{name}");
        }
        let of = |line: &str| catalogue.command_of(&words(line)).map(|command| command.name);
        assert_eq!(of("get k"), Some("GET"));
        assert_eq!(of("client kill x"), Some("CLIENT KILL"));
        assert_eq!(of("client"), None);
        assert_eq!(of("client foo"), None);
        assert_eq!(of("client|kill x"), None);
    }

    #[test]
    fn facts_follow_from_the_declaration() {
        assert_eq!((arity(&GET), arity(&MSET)), (2, -3));
        assert_eq!(flags(&GET), ["readonly", "fast"]);
        assert_eq!(flags(&MSET), ["write", "denyoom"]);
        assert_eq!(flags(&CLIENT_KILL), ["admin", "noscript"]);
        assert_eq!(categories(&GET), ["string", "read", "fast"]);
        assert_eq!(categories(&CLIENT_KILL), ["connection", "admin", "dangerous", "slow"]);
        assert_eq!(first_last_step(&MSET), (1, -1, 2));
        assert_eq!(first_last_step(&MSETNX), (1, -1, 2));
        assert_eq!(first_last_step(&RENAME), (1, 2, 1));
        assert_eq!(first_last_step(&FOUND), (0, 0, 0));
        assert_eq!(flags(&FOUND), ["write", "denyoom", "movablekeys", "no_multi"]);
        assert_eq!(first_last_step(&STORE_COUNTED), (1, 1, 1));
        assert_eq!(flags(&STORE_COUNTED), ["write", "denyoom", "movablekeys"]);
        assert_eq!(flags(&WATCH), ["fast"], "it reads none of its keys");
        assert_eq!(key_flags(&RENAME), [&["RW", "access", "delete"][..], &["OW", "update"]]);
    }

    #[test]
    fn keys_are_where_the_route_says() {
        assert_eq!(keys(&GET, &words("get k")), words("k"));
        assert_eq!(keys(&MSET, &words("mset a 1 b 2")), words("a b"));
        assert_eq!(keys(&MSET, &words("mset a 1 b")), words("a b"));
        assert_eq!(keys(&RENAME, &words("rename a b")), words("a b"));
        assert_eq!(keys(&MSETNX, &words("msetnx a 1 b 2")), words("a b"));
        assert_eq!(keys(&FOUND, &words("found x a bc d")), words("a bc d"));
        assert_eq!(keys(&STORE_COUNTED, &words("store d 2 a b WEIGHTS 1 2")), words("d a b"));
        assert_eq!(keys(&STORE_COUNTED, &words("store d 3 a b")), words("d"));
        assert_eq!(keys(&STORE_COUNTED, &words("store d x a b")), words("d"));
        assert!(has_keys(&FOUND) && has_keys(&RENAME) && !has_keys(&CLIENT_KILL));
        assert_eq!(keys(&CLIENT_KILL, &words("client kill x")), [b""; 0]);
    }
}
