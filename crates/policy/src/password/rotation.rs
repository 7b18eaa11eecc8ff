//! A further secret for a user, the end of old ones, and hashes that are computed anew.
//!
//! Called by `motte passwd` and, after a login, by the broker. Writes no file.

use super::{Fingerprint, Label, Line, PasswordError, PasswordFile, PasswordHash, Term, user_name};

impl PasswordFile {
    /// Gives a user who has a secret another one beside it: `hash` becomes the plain line under the name of `label`,
    /// and what was there counts until `until` at the latest. Secrets that ended before `now` are removed.
    pub fn rotate(
        &mut self,
        user: &str,
        (label, hash): (Label, PasswordHash),
        (now, until): (u64, u64),
    ) -> Result<(), PasswordError> {
        let name = user_name(user).map_err(PasswordError::UserName)?;
        if self.scram_keys(user).is_some() {
            return Err(PasswordError::Secret("the user has a SCRAM record, of which there is one at a time"));
        }
        let mut next = Vec::new();
        for line in &self.lines {
            match line {
                Line::Name(user, _) if *user == name => {}
                Line::Entry(user, _) | Line::Further(user, ..) if *user == name => {}
                other => next.push(other.clone()),
            }
        }
        // The label stands before the plain line, so that no order of the others is wrong.
        if label != Label::main() {
            next.push(Line::Name(name.clone(), label));
        }
        next.push(Line::Entry(name.clone(), hash));
        for secret in self.secrets(user) {
            if secret.term.expires.is_some_and(|end| end <= now) {
                continue;
            }
            // One that has not begun begins no later for it, and is no use if it would end before.
            let expires = Some(secret.term.expires.map_or(until, |end| end.min(until)));
            if secret.term.not_before.zip(expires).is_none_or(|(from, end)| from < end) {
                next.push(Line::Further(name.clone(), Term { expires, ..secret.term }, secret.hash.clone()));
            }
        }
        *self = self.with_lines(next).map_err(PasswordError::Secret)?;
        Ok(())
    }

    /// Removes every secret of a user but that of the plain line, which keeps no label.
    pub fn keep_plain_only(&mut self, user: &str) {
        let is_other = |line: &Line| matches!(line, Line::Name(name, _) | Line::Further(name, ..) if &*name.0 == user);
        let kept = self.lines.iter().filter(|line| !is_other(line)).cloned().collect();
        if let Ok(next) = self.with_lines(kept) {
            *self = next;
        }
    }

    /// Removes one secret of a user. Tells whether it was there.
    pub fn remove_secret(&mut self, user: &str, label: &Label) -> bool {
        let plain = self.names.get(user).map_or_else(Label::main, |at| self.label_at(*at));
        let there = self.secrets(user).iter().any(|secret| secret.term.label == *label);
        let is_meant = |line: &Line| match line {
            Line::Entry(..) | Line::Name(..) => plain == *label,
            Line::Further(_, term, _) => term.label == *label,
            Line::Text(_) | Line::Scram(..) => false,
        };
        let of_user = |line: &Line| line.user().is_some_and(|name| &*name.0 == user);
        let kept = self.lines.iter().filter(|line| !(of_user(line) && is_meant(line))).cloned().collect();
        if let Ok(next) = self.with_lines(kept) {
            *self = next;
        }
        there
    }

    /// Puts another hash of the same password in the place of one. Tells whether that one was still there.
    pub fn rehash(&mut self, user: &str, old: Fingerprint, hash: PasswordHash) -> bool {
        let places = self.secrets.get(user).cloned().unwrap_or_default();
        let of = |at: &&usize| self.lines[**at].hash().is_some_and(|hash| hash.fingerprint() == old);
        let Some(at) = places.iter().find(of).copied() else { return false };
        self.replaced.insert(hash.fingerprint(), old);
        match &mut self.lines[at] {
            Line::Entry(_, there) | Line::Further(_, _, there) => *there = hash,
            Line::Text(_) | Line::Name(..) | Line::Scram(..) => return false,
        }
        true
    }

    /// Takes over from an earlier state of the file which secrets are hashed anew, as far as they are here.
    pub fn inherit(&mut self, earlier: &Self) {
        let here: Vec<_> = self.lines.iter().filter_map(Line::hash).map(PasswordHash::fingerprint).collect();
        let mut wanted = here;
        while let Some(new) = wanted.pop() {
            if let Some(old) = earlier.replaced.get(&new)
                && self.replaced.insert(new, *old).is_none()
            {
                wanted.push(*old);
            }
        }
    }

    /// Whether one fingerprint is the other, or that of the same password hashed anew.
    pub(super) fn is_same(&self, newest: Fingerprint, wanted: Fingerprint) -> bool {
        let mut at = Some(newest);
        while let Some(fingerprint) = at {
            if fingerprint == wanted {
                return true;
            }
            at = self.replaced.get(&fingerprint).copied();
        }
        false
    }

    /// A label that the user has no secret under: `wish`, or that with a number behind it.
    #[must_use]
    pub fn free_label(&self, user: &str, wish: &Label) -> Label {
        let secrets = self.secrets(user);
        let is_free = |label: &Label| secrets.iter().all(|secret| secret.term.label != *label);
        let numbered =
            (2..).map(|number| Label::parse(&format!("{:.28}-{number}", wish.as_str())).unwrap_or(wish.clone()));
        let mut all = std::iter::once(wish.clone()).chain(numbered);
        all.find(is_free).unwrap_or_else(|| wish.clone())
    }
}
