//! A command over two keys, wherever they are: what one account loses the other one gets, and
//! nobody ever sees it in between.

use std::collections::HashMap;

use kevy_resp::{Error, Resp};
use kevy_rt::{Key, Store, Tx, commands, server};

/// One shard's accounts.
#[derive(Debug, Default, Store)]
pub struct Accounts(HashMap<Box<[u8]>, u64>);

impl Accounts {
    /// What an account holds; nothing if it was never opened.
    pub fn balance(&self, account: Key<'_>) -> u64 {
        self.find(account).unwrap_or(0)
    }

    /// The same, told apart from an account that was never opened.
    pub fn find(&self, account: Key<'_>) -> Option<u64> {
        self.0.get(account.bytes()).copied()
    }

    /// Sets what it holds.
    pub fn set(&mut self, account: Key<'_>, amount: u64) {
        self.0.insert(account.bytes().into(), amount);
    }

    /// Adds to what it holds.
    pub fn add(&mut self, account: Key<'_>, amount: u64) {
        self.set(account, self.balance(account).saturating_add(amount));
    }
}

/// The command set.
#[derive(Debug)]
pub struct Banking;

#[commands(store = Accounts, wire = Resp)]
impl Banking {
    /// Opens an account with so much in it.
    #[command(route = single(1), write)]
    fn open(db: &mut Accounts, account: Key<'_>, amount: u64) {
        db.set(account, amount);
    }

    /// What accounts hold, all at one moment.
    #[command(route = keys(1..), gather = in_order)]
    fn balance(db: &Accounts, account: Key<'_>) -> Option<u64> {
        db.find(account)
    }

    /// Moves an amount from one account to another; answers what both hold then.
    #[command(route = tx(1, 2), write)]
    async fn transfer(
        tx: &Tx<Accounts>,
        from: Key<'_>,
        to: Key<'_>,
        amount: u64,
    ) -> Result<Vec<u64>, Error> {
        let read = |db: &Accounts, account: Key<'_>| db.find(account);
        let (left, sum) = (tx.read(&from, read), tx.read(&to, read));
        let missing = Error::new("ERR no such account, or too little in it");
        let left = left.await.and_then(|left| left.checked_sub(amount)).ok_or(missing.clone())?;
        let sum = sum.await.and_then(|sum| sum.checked_add(amount)).ok_or(missing)?;
        if from.bytes() == to.bytes() {
            return Ok(vec![sum - amount; 2]);
        }
        tx.on(&from, move |db, account| db.set(account, left)).await;
        tx.on(&to, move |db, account| db.set(account, sum)).await;
        Ok(vec![left, sum])
    }
}

server! {
    /// The server.
    pub Bank: store = Accounts, ports = [ Resp, () => [Banking] ]
}
