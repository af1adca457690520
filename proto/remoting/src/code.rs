//! Request and response codes. Source: Apache 5.5 `RequestCode`, `ResponseCode`, `RemotingSysResponseCode`.

/// An enum over numbers of a peer, which may be any.
macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $number:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$of])* $variant,)*
            /// Any other number.
            Unknown(i32),
        }

        impl $name {
            /// By its number.
            #[must_use]
            pub const fn of(number: i32) -> Self {
                match number {
                    $($number => Self::$variant,)*
                    other => Self::Unknown(other),
                }
            }

            /// Its number.
            #[must_use]
            pub const fn number(self) -> i32 {
                match self {
                    $(Self::$variant => $number,)*
                    Self::Unknown(number) => number,
                }
            }
        }
    };
}

codes! {
    /// What is asked for.
    RequestCode {
        /// Stores a message; field names in full.
        SendMessage = 10,
        /// Reads a queue.
        PullMessage = 11,
        /// Messages of a topic by a key.
        QueryMessage = 12,
        /// Where a group is on a queue.
        QueryConsumerOffset = 14,
        /// Commits a group's offset on a queue.
        UpdateConsumerOffset = 15,
        /// Makes or changes a topic.
        UpdateAndCreateTopic = 17,
        /// Makes or changes several topics.
        UpdateAndCreateTopicList = 18,
        /// All topics of a broker with their settings.
        GetAllTopicConfig = 21,
        /// Changes a broker's settings.
        UpdateBrokerConfig = 25,
        /// Asks for them.
        GetBrokerConfig = 26,
        /// What a broker counts and measures of itself.
        GetBrokerRuntimeInfo = 28,
        /// The first message of a queue that was stored at or after a time.
        SearchOffsetByTimestamp = 29,
        /// A queue's end.
        GetMaxOffset = 30,
        /// A queue's first offset.
        GetMinOffset = 31,
        /// When a queue's first message was stored.
        GetEarliestMsgStoreTime = 32,
        /// The record at a place of the log.
        ViewMessageById = 33,
        /// A client lives; which groups it produces and consumes in.
        HeartBeat = 34,
        /// A client leaves a group.
        UnregisterClient = 35,
        /// A consumer failed: the message is to come again later.
        ConsumerSendMsgBack = 36,
        /// Commits or rolls back a half message.
        EndTransaction = 37,
        /// Which clients consume in a group.
        GetConsumerListByGroup = 38,
        /// Asks a producer what became of its half message.
        CheckTransactionState = 39,
        /// Tells a consumer that its group has other members.
        NotifyConsumerIdsChanged = 40,
        /// Locks queues for one client of a group.
        LockBatchMq = 41,
        /// Gives them back.
        UnlockBatchMq = 42,
        /// Where all groups of a broker are, for its slaves.
        GetAllConsumerOffset = 43,
        /// How far a broker has delivered by delay levels, for its slaves.
        GetAllDelayOffset = 45,
        /// Whether a subscription can be served.
        CheckClientConfig = 46,
        /// How far a broker has delivered what waits for a time, for its slaves.
        GetTimerCheckPoint = 60,
        /// How many messages wait for a time, for a broker's slaves.
        GetTimerMetrics = 61,
        /// Sets a value of the key-value configuration.
        PutKvConfig = 100,
        /// Asks for a value of it.
        GetKvConfig = 101,
        /// Removes a value of it.
        DeleteKvConfig = 102,
        /// A broker tells that it lives and which topics it has.
        RegisterBroker = 103,
        /// A broker leaves.
        UnregisterBroker = 104,
        /// Where a topic's queues are.
        GetRouteInfoByTopic = 105,
        /// All clusters and brokers.
        GetBrokerClusterInfo = 106,
        /// Makes or changes a group.
        UpdateAndCreateSubscriptionGroup = 200,
        /// All groups of a broker with their settings.
        GetAllSubscriptionGroupConfig = 201,
        /// First and end offset of each queue of a topic.
        GetTopicStatsInfo = 202,
        /// The clients that consume in a group.
        GetConsumerConnectionList = 203,
        /// The clients that produce in a group.
        GetProducerConnectionList = 204,
        /// Takes the permission to write from all topics of a broker.
        WipeWritePermOfBroker = 205,
        /// All topics.
        GetAllTopicListFromNameserver = 206,
        /// Deletes a group.
        DeleteSubscriptionGroup = 207,
        /// How far a group is on each of its queues.
        GetConsumeStats = 208,
        /// Deletes a topic.
        DeleteTopicInBroker = 215,
        /// Forgets a topic's route.
        DeleteTopicInNamesrv = 216,
        /// Adds queues of one topic.
        RegisterTopicInNamesrv = 217,
        /// A whole namespace of the key-value configuration.
        GetKvListByNamespace = 219,
        /// Tells a consumer where its group goes on.
        ResetConsumerClientOffset = 220,
        /// Asks a consumer how far it is.
        GetConsumerStatusFromClient = 221,
        /// Sets where a group goes on.
        InvokeBrokerToResetOffset = 222,
        /// How far the clients of a group are.
        InvokeBrokerToGetConsumerStatus = 223,
        /// The topics of a cluster.
        GetTopicsByCluster = 224,
        /// Makes or changes several groups.
        UpdateAndCreateSubscriptionGroupList = 225,
        /// Which groups consume a topic.
        QueryTopicConsumeByWho = 300,
        /// When what a group has consumed was stored, by queue.
        QueryConsumeTimeSpan = 303,
        /// The topics named like clusters and brokers.
        GetSystemTopicListFromNs = 304,
        /// The topics that a broker keeps for itself.
        GetSystemTopicListFromBroker = 305,
        /// Removes queues whose messages have expired.
        CleanExpiredConsumeQueue = 306,
        /// Asks a consumer what it does.
        GetConsumerRunningInfo = 307,
        /// The lowest offsets of a topic's groups, beside those of one of them.
        QueryCorrectionOffset = 308,
        /// Lets a consumer consume a message now.
        ConsumeMessageDirectly = 309,
        /// Stores a message; field names of one letter.
        SendMessageV2 = 310,
        /// Topics of units.
        GetUnitTopicList = 311,
        /// Topics with subscriptions of units.
        GetHasUnitSubTopicList = 312,
        /// The same without topics of units.
        GetHasUnitSubUnunitTopicList = 313,
        /// Gives a group the offsets of another.
        CloneGroupOffset = 314,
        /// What was counted of a topic or group.
        ViewBrokerStatsData = 315,
        /// Removes queues of topics that are gone.
        CleanUnusedTopic = 316,
        /// How far all groups are.
        GetBrokerConsumeStats = 317,
        /// Changes the name server's settings.
        UpdateNamesrvConfig = 318,
        /// Asks for them.
        GetNamesrvConfig = 319,
        /// Stores several messages of one queue.
        SendBatchMessage = 320,
        /// Entries of a queue.
        QueryConsumeQueue = 321,
        /// Whether a broker's topics have changed since it registered.
        QueryDataVersion = 322,
        /// Stores a reply to a request; field names in full.
        SendReplyMessage = 324,
        /// The same; field names of one letter.
        SendReplyMessageV2 = 325,
        /// Hands a requester its reply.
        PushReplyMessageToClient = 326,
        /// Gives all topics of a broker the permission to read and write.
        AddWritePermOfBroker = 327,
        /// All producers, by group.
        GetAllProducerInfo = 328,
        /// Lets the log's oldest segments go, if their time is over.
        DeleteExpiredCommitLog = 329,
        /// The topics that a group consumes.
        QueryTopicsByConsumer = 343,
        /// What a group subscribes to of a topic.
        QuerySubscriptionByConsumer = 345,
        /// A topic's settings.
        GetTopicConfig = 351,
        /// A group's settings.
        GetSubscriptionGroupConfig = 352,
        /// Forbids or allows a group to read a topic, and says what holds then.
        UpdateAndGetGroupForbidden = 353,
        /// Reads a queue, for consumers that assign queues to themselves.
        LitePullMessage = 361,
        /// Takes back a delayed message.
        RecallMessage = 370,
        /// The queues that a client of a group is to consume.
        QueryAssignment = 400,
        /// Whether a group pulls or pops a topic.
        SetMessageRequestMode = 401,
        /// All of these settings.
        GetAllMessageRequestMode = 402,
        /// The addresses of one broker's master and slaves.
        GetBrokerMemberGroup = 901,
        /// A broker tells that it lives.
        BrokerHeartbeat = 904,
        /// Tells a broker that another one of its name has the lowest id now.
        NotifyMinBrokerIdChange = 905,
        /// Where a master has its log, for its slaves.
        ExchangeBrokerHaInfo = 906,
        /// How far a broker's slaves are.
        GetBrokerHaStatus = 907,
        /// A master asks a controller to change which brokers are in sync with it.
        ControllerAlterSyncStateSet = 1001,
        /// Asks a controller for the election of a master.
        ControllerElectMaster = 1002,
        /// A broker that has its id tells a controller where it is.
        ControllerRegisterBroker = 1003,
        /// Who is the master of a broker name.
        ControllerGetReplicaInfo = 1004,
        /// Which controllers there are, and which of them leads.
        ControllerGetMetadataInfo = 1005,
        /// Which brokers of some names are in sync with their masters.
        ControllerGetSyncStateData = 1006,
        /// Asks a broker for the epochs of its log.
        GetBrokerEpochCache = 1007,
        /// Tells a broker that its name has another master.
        NotifyBrokerRoleChanged = 1008,
        /// Changes a controller's settings.
        UpdateControllerConfig = 1009,
        /// Asks for them.
        GetControllerConfig = 1010,
        /// Makes a controller forget brokers.
        CleanBrokerData = 1011,
        /// Asks a controller for an id that no broker of a name has.
        ControllerGetNextBrokerId = 1012,
        /// A broker takes an id.
        ControllerApplyBrokerId = 1013,
        /// Ours: as [`Self::SendMessageV2`], of a message that is to be stored once under its idempotency key. A broker that knows no
        /// keys, Apache's for one, does not know this either, and stores nothing.
        SendOnce = 30_310,
        /// Ours: between a master and a slave that stood in for it, what that has done meanwhile: see
        /// [`HandBack`](crate::body::HandBack).
        HandBack = 30_311,
        /// Ours: between controllers, entries of their common log or a sign of life of their leader.
        ControllerAppendEntries = 31_001,
        /// Ours: between controllers, a part of a snapshot.
        ControllerInstallSnapshot = 31_002,
        /// Ours: between controllers, a candidate asks for a vote.
        ControllerVote = 31_003,
        /// Leases messages.
        PopMessage = 200_050,
        /// Ends a lease.
        AckMessage = 200_051,
        /// Messages that a pop would get.
        PeekMessage = 200_052,
        /// Lets a lease end at another time.
        ChangeMessageInvisibleTime = 200_053,
        /// Waits for a message without leasing it.
        Notification = 200_054,
        /// How many receivers wait.
        PollingInfo = 200_055,
        /// Ends several leases.
        BatchAckMessage = 200_151,
    }
}

codes! {
    /// How it went.
    ResponseCode {
        /// Done.
        Success = 0,
        /// It failed; the remark says why.
        SystemError = 1,
        /// Too much is waiting; later it may work.
        SystemBusy = 2,
        /// Nobody serves the request's code.
        RequestCodeNotSupported = 3,
        /// Stored, but the disk did not confirm in time.
        FlushDiskTimeout = 10,
        /// Stored, but no slave was there.
        SlaveNotAvailable = 11,
        /// Stored, but no slave confirmed in time.
        FlushSlaveTimeout = 12,
        /// A message that may not be stored.
        MessageIllegal = 13,
        /// Nothing of this kind can be done now.
        ServiceNotAvailable = 14,
        /// A request as older versions wrote it, which lacks what is needed here.
        VersionNotSupported = 15,
        /// Refused.
        NoPermission = 16,
        /// There is no such topic.
        TopicNotExist = 17,
        /// Nothing is there yet.
        PullNotFound = 19,
        /// Nothing that was wanted; go on at the next offset at once.
        PullRetryImmediately = 20,
        /// The queue does not have this offset; the answer says where to go on.
        PullOffsetMoved = 21,
        /// There is no such value.
        QueryNotFound = 22,
        /// A filter that cannot be understood.
        SubscriptionParseFailed = 23,
        /// The group has not told what it subscribes to.
        SubscriptionNotExist = 24,
        /// The group's subscription is older than the client's.
        SubscriptionNotLatest = 25,
        /// There is no such group.
        SubscriptionGroupNotExist = 26,
        /// A field that makes no sense.
        InvalidParameter = 29,
        /// No buyer is named.
        NoBuyerId = 204,
        /// Of another unit.
        NotInCurrentUnit = 205,
        /// No client of the group is there.
        ConsumerNotOnline = 206,
        /// A client did not answer in time.
        ConsumeMsgTimeout = 207,
        /// No such message is leased.
        NoMessage = 208,
        /// Too many wait already.
        PollingFull = 209,
        /// Nothing came while it waited.
        PollingTimeout = 210,
        /// More than is allowed.
        FlowControl = 215,
        /// Another broker has the queue now.
        NotLeaderForQueue = 501,
        /// It may not be done, or not any more.
        IllegalOperation = 604,
        /// The connection is to be opened anew.
        GoAway = 1500,
        /// The master is of another epoch.
        ControllerFencedMasterEpoch = 2000,
        /// The set of brokers in sync is of another epoch.
        ControllerFencedSyncStateSetEpoch = 2001,
        /// Another broker is the master.
        ControllerInvalidMaster = 2002,
        /// A broker that is no member of its name.
        ControllerInvalidReplicas = 2003,
        /// The master is gone and no other was found.
        ControllerMasterNotAvailable = 2004,
        /// A request that makes no sense.
        ControllerInvalidRequest = 2005,
        /// A broker that is not alive.
        ControllerBrokerNotAlive = 2006,
        /// Another controller leads, or none.
        ControllerNotLeader = 2007,
        /// Nothing is known of this broker name.
        ControllerBrokerMetadataNotExist = 2008,
        /// These brokers may not be forgotten.
        ControllerInvalidCleanBrokerMetadata = 2009,
        /// The broker has no id yet.
        ControllerBrokerNeedToBeRegistered = 2010,
        /// The master is alive and stays.
        ControllerMasterStillExist = 2011,
        /// No master was found.
        ControllerElectMasterFailed = 2012,
        /// The set of brokers in sync stays as it is.
        ControllerAlterSyncStateSetFailed = 2013,
        /// The id cannot be had.
        ControllerBrokerIdInvalid = 2014,
    }
}
