//! An admitted CONNECT, ready to be handed to the shard where the client id lives.
//!
//! Made by the gate, only out of an [`AdmitPermit`]: nobody unauthenticated reaches the broker.

use std::num::NonZeroU16;
use std::sync::Arc;

use motte_mqtt::{Connect, ProtocolVersion, Will};
use motte_policy::{AdmitPermit, Reauthentication, Subject};

use crate::mount::MountPoint;
use crate::restore::StoredWill;
use crate::tenant::session_name;

/// Everything the broker keeps of a CONNECT.
#[derive(Debug)]
pub struct Admission {
    pub(crate) subject: Subject,
    pub(crate) version: ProtocolVersion,
    pub(crate) clean_start: bool,
    pub(crate) keep_alive_s: u16,
    /// Seconds the session outlives the connection; `u32::MAX` is for ever. For 3.x 0 with a clean session, else for
    /// ever.
    pub(crate) session_expiry_s: u32,
    pub(crate) receive_maximum: NonZeroU16,
    pub(crate) packet_size_max: u32,
    /// Aliases the client takes; 0 for 3.x.
    pub(crate) topic_alias_maximum: u16,
    /// Whether the client asks for Response Information.
    pub(crate) wants_response_information: bool,
    /// Whether the client wants reason strings on packets other than CONNACK and DISCONNECT (MQTT-3.1.2-29).
    pub(crate) wants_problem_information: bool,
    pub(crate) will: Option<StoredWill>,
    pub(crate) assigned: bool,
    /// The name the session is kept under.
    pub(crate) name: Arc<str>,
    /// What stands before all topics of the client: the space of its tenant, then what the listener puts there.
    pub(crate) mount_point: MountPoint,
    /// There when the client authenticated by an exchange: the CONNACK then names the method, and the client may
    /// authenticate again.
    pub(crate) reauthentication: Option<Box<Reauthentication>>,
    /// The end of that exchange, for the CONNACK.
    pub(crate) authentication_data: Box<[u8]>,
}

impl StoredWill {
    fn new(will: &Will<'_>) -> Self {
        Self {
            topic: will.topic.into(),
            payload: will.payload.into(),
            qos: will.qos,
            retain: will.retain,
            delay_s: will.delay_s,
            message_expiry_s: will.message_expiry_s,
            properties: will.properties.to_owned(),
        }
    }
}

impl Admission {
    /// An admission for the subject of `permit`. `assigned` tells that the gate chose the client identifier, which
    /// CONNACK then returns (MQTT-3.1.3-7).
    #[must_use]
    pub fn new(permit: AdmitPermit, connect: &Connect<'_>, assigned: bool) -> Self {
        let asked = &connect.properties;
        let is_v5 = connect.version == ProtocolVersion::V5;
        let session_expiry_s = match connect.version {
            ProtocolVersion::V5 => asked.session_expiry_s.unwrap_or(0),
            ProtocolVersion::V31 | ProtocolVersion::V311 if connect.clean_start => 0,
            ProtocolVersion::V31 | ProtocolVersion::V311 => u32::MAX,
        };
        let (subject, reauthentication) = permit.into_parts();
        let name = session_name(&subject).into();
        let admission = Self {
            subject,
            version: connect.version,
            clean_start: connect.clean_start,
            keep_alive_s: connect.keep_alive_s,
            session_expiry_s,
            receive_maximum: asked.receive_maximum.unwrap_or(NonZeroU16::MAX),
            packet_size_max: asked.packet_size_max.map_or(u32::MAX, std::num::NonZeroU32::get),
            topic_alias_maximum: if is_v5 { asked.topic_alias_maximum } else { 0 },
            wants_response_information: asked.request_response_information,
            wants_problem_information: asked.request_problem_information,
            will: connect.will.as_ref().map(StoredWill::new),
            assigned,
            name,
            mount_point: MountPoint::default(),
            reauthentication,
            authentication_data: Box::default(),
        };
        admission.behind(&MountPoint::default())
    }

    /// The same for a client behind a mount point, which is put before the topic of its will now and before all others
    /// later, and behind the space of its tenant. The permit has to have been asked for with the will topic behind it.
    #[must_use]
    pub fn behind(mut self, mount_point: &MountPoint) -> Self {
        let mount_point = mount_point.within(self.subject.tenant.as_ref());
        if let Some(will) = &mut self.will {
            let before = self.mount_point.as_str().len();
            will.topic = mount_point.mounted(&will.topic[before..]).into();
        }
        self.mount_point = mount_point;
        self
    }

    /// The name the session is kept under: it lives on the shard that is the home of this name.
    #[must_use]
    pub fn session_name(&self) -> &Arc<str> {
        &self.name
    }

    /// The same with the last data of the exchange by which the client authenticated (MQTT 5.0 §4.12).
    #[must_use]
    pub fn with_authentication_data(self, data: &[u8]) -> Self {
        Self { authentication_data: data.into(), ..self }
    }

    /// Who is admitted.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The protocol version of the connection.
    #[must_use]
    pub fn version(&self) -> ProtocolVersion {
        self.version
    }
}
