//! Dynamic security: clients, groups and roles that are changed while the broker runs, by Mosquitto's commands and in
//! Mosquitto's file.
//!
//! Called by `node`, which reads and writes the file, takes the commands off the control topic and puts what comes out
//! in force; and by `motte dynsec init`. Pure: salts are drawn by the caller, and nothing here knows of a file.

mod commands;
mod compile;
mod identity;
mod initial;
mod model;
mod object;
mod password;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use commands::{Done, Outcome, Salts, answer_questions};
pub use identity::{Barred, Check};
pub use model::{ClientOverview, DynamicSecurity};
pub use read::DynamicError;

use crate::ranked::RuleSet;

impl DynamicSecurity {
    /// Reads a file in the form of Mosquitto 2.0 or 2.1.
    ///
    /// # Errors
    /// All that is wrong with it; nothing of a file with an error is used.
    pub fn parse(text: &str) -> Result<Self, Vec<DynamicError>> {
        read::model(text)
    }

    /// The rules of its roles, to be asked about its clients.
    #[must_use]
    pub fn rules(&self) -> RuleSet {
        compile::rules(self)
    }

    /// The text of the file, in the form of 2.1. A password that came in the form of 2.0 and was not changed stays in
    /// it.
    #[must_use]
    pub fn to_text(&self) -> String {
        write::text(self)
    }

    /// Does what a request on the control topic says, a JSON text of commands. Passwords in it are hashed here, which
    /// is slow on purpose, and wiped.
    pub fn execute(&mut self, request: &[u8], salts: &mut Salts<'_>) -> Outcome {
        let outcome = commands::execute(self, request, salts);
        if outcome.has_changed() {
            self.change_index = self.change_index.saturating_add(1);
        }
        outcome
    }

    /// What a new file holds: the roles Mosquitto 2.1 begins with, and one client, `admin`, who may change everything
    /// else and has this password.
    #[must_use]
    pub fn initial(admin: &str, password: &str, salt: [u8; crate::SALT_BYTES]) -> Self {
        initial::model(admin, password, salt)
    }
}
