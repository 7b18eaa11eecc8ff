//! As much MQTT as a load generator needs to hear: CONNACK, SUBACK, PINGRESP and the acknowledgements of QoS 1 and 2,
//! said at once. Called by `link` with what came. Trusts every byte: a peer that breaks the protocol breaks its link.

/// What is known of a peer.
#[derive(Debug, Default)]
pub(crate) struct Talk {
    /// Whether it has subscribed.
    pub(crate) is_subscriber: bool,
    /// What is to be said to it.
    pub(crate) answers: Vec<u8>,
    is_version_5: bool,
    /// The beginning of a packet that has not come whole.
    partial: Vec<u8>,
}

impl Talk {
    /// Takes the next bytes; PUBLISH packets are copied to `published` as they are.
    pub(crate) fn hear(&mut self, bytes: &[u8], published: &mut Vec<u8>) {
        if self.partial.is_empty() {
            let used = self.hear_packets(bytes, published);
            self.partial.extend_from_slice(&bytes[used..]);
        } else {
            let mut all = std::mem::take(&mut self.partial);
            all.extend_from_slice(bytes);
            let used = self.hear_packets(&all, published);
            all.drain(..used);
            self.partial = all;
        }
    }

    /// Hears the whole packets of `bytes`; how long they are.
    fn hear_packets(&mut self, bytes: &[u8], published: &mut Vec<u8>) -> usize {
        let (mut at, mut run) = (0, 0);
        while let Some((header, length)) = frame(&bytes[at..]) {
            let packet = &bytes[at..at + length];
            let publish = packet[0] >> 4 == 3;
            if !publish {
                // A run of PUBLISH packets is copied in one go.
                published.extend_from_slice(&bytes[run..at]);
                run = at + length;
            }
            if packet[0] & 0xf6 != 0x30 {
                self.answer(packet[0], &packet[header..]);
            }
            at += length;
        }
        published.extend_from_slice(&bytes[run.min(at)..at]);
        at
    }

    fn answer(&mut self, first: u8, body: &[u8]) {
        match (first >> 4, first >> 1 & 3) {
            (1, _) => {
                self.is_version_5 = body.get(6) == Some(&5);
                self.answers.extend_from_slice(if self.is_version_5 { &[0x20, 3, 0, 0, 0] } else { &[0x20, 2, 0, 0] });
            }
            (3, qos) => self.acknowledge(if qos == 1 { 0x40 } else { 0x50 }, after_string(body)),
            (5, _) => self.acknowledge(0x62, body),
            (6, _) => self.acknowledge(0x70, body),
            (8, _) => self.subscribe(body),
            (12, _) => self.answers.extend_from_slice(&[0xd0, 0]),
            _ => {}
        }
    }

    fn acknowledge(&mut self, first: u8, body: &[u8]) {
        if let [high, low, ..] = *body {
            self.answers.extend_from_slice(&[first, 2, high, low]);
        }
    }

    fn subscribe(&mut self, body: &[u8]) {
        let [high, low, rest @ ..] = body else { return };
        let mut filters = rest;
        if self.is_version_5 {
            // Its properties: a subscription identifier at most, so their length is one byte.
            let length = filters.first().map_or(0, |length| usize::from(*length) + 1);
            filters = filters.get(length..).unwrap_or_default();
        }
        let mut granted = Vec::new();
        while let [options, rest @ ..] = after_string(filters) {
            granted.push(options & 3);
            filters = rest;
        }
        self.is_subscriber = true;
        let properties: &[u8] = if self.is_version_5 { &[0] } else { &[] };
        self.answers.push(0x90);
        put_length(&mut self.answers, 2 + properties.len() + granted.len());
        self.answers.extend([*high, *low].iter().chain(properties).chain(&granted));
    }
}

/// What stands behind the string that opens `bytes`.
fn after_string(bytes: &[u8]) -> &[u8] {
    let [high, low, rest @ ..] = bytes else { return &[] };
    rest.get(usize::from(u16::from_be_bytes([*high, *low]))..).unwrap_or_default()
}

/// Lengths of the header and of the whole packet that opens `bytes`, if all of it is there.
fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut length = 0;
    for (at, byte) in bytes.iter().enumerate().skip(1).take(4) {
        length |= usize::from(byte & 0x7f) << (7 * (at - 1));
        if byte & 0x80 == 0 {
            let end = at + 1 + length;
            return (end <= bytes.len()).then_some((at + 1, end));
        }
    }
    None
}

fn put_length(out: &mut Vec<u8>, mut length: usize) {
    loop {
        let more = if length > 0x7f { 0x80 } else { 0 };
        out.push(u8::try_from(length & 0x7f).unwrap_or(0x7f) | more);
        length >>= 7;
        if length == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(pieces: &[&[u8]]) -> (Vec<u8>, Vec<u8>) {
        let (mut talk, mut published) = (Talk::default(), Vec::new());
        for piece in pieces {
            talk.hear(piece, &mut published);
        }
        (talk.answers, published)
    }

    #[test]
    fn a_publish_goes_on_as_it_came_however_it_is_cut() {
        let bytes =
            [0x30, 5, 0, 1, b'a', b'h', b'i', 0xc0, 0, 0x32, 6, 0, 1, b'a', 0, 9, b'x', 0x34, 5, 0, 1, b'a', 1, 2];
        let publishes = [&bytes[..7], &bytes[9..]].concat();
        let answers = vec![0xd0, 0, 0x40, 2, 0, 9, 0x50, 2, 1, 2];
        for cut in 0..bytes.len() {
            assert_eq!(heard(&[&bytes[..cut], &bytes[cut..]]), (answers.clone(), publishes.clone()), "cut at {cut}");
        }
    }

    #[test]
    fn each_version_gets_its_connack_and_suback() {
        let connect = |version| [0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', version, 2, 0, 60, 0, 1, b'c'];
        let subscribe = [0x82, 10, 0, 7, 0, 1, b'a', 1, 0, 1, b'b', 0];
        assert_eq!(heard(&[&connect(4), &subscribe]).0, [0x20, 2, 0, 0, 0x90, 4, 0, 7, 1, 0]);
        let subscribe = [0x82, 9, 0, 7, 2, 11, 1, 0, 1, b'a', 2];
        assert_eq!(heard(&[&connect(5), &subscribe]).0, [0x20, 3, 0, 0, 0, 0x90, 4, 0, 7, 0, 2]);
    }

    #[test]
    fn both_sides_of_qos_2_are_answered() {
        assert_eq!(heard(&[&[0x50, 2, 0, 3], &[0x62, 2, 0, 4], &[0x70, 2, 0, 3]]).0, [0x62, 2, 0, 3, 0x70, 2, 0, 4]);
    }
}
