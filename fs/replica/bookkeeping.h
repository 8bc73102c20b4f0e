// The replica's own rows, beside the model's:
//
//   M state               which generations are pending, and the layout version
//   G generation          an applied record, kept while its history is, so that it can be rolled back and reapplied
//   P pack                PackPlace: where its bytes are in the store; a local pack without one is unsent
//   O ino                 unlinked while open: erased at the next start
//   U                     the record that is sealed and not acknowledged by the store
//   Mparts, Mphere number, Mpown prefix: which parts of a state are here, while it is loaded (parts.cc)
//   Mloading              empty: a state is being loaded, and what is here is not whole
//   Mstable               stamp u64: of the newest applied record that cannot be undone any more
//   S ...                 the synchronizer's
#pragma once

#include "base/rows.h"
#include "fs/model/history.h"
#include "fs/replica/replica.h"

namespace coffer {

struct ReplicaState {
  model::Generation first_pending = 1;  // == open when nothing is frozen
  model::Generation open = 1;
};

// An applied record and the generations that undo it.
struct AppliedRecord {
  model::Generation first = 0, last = 0;
  OrderedRecord record;
};

RowKey state_key();
RowKey applied_key(model::Generation last);
RowKey place_key(const ObjectId& pack);
RowKey orphan_key(Ino ino);
RowKey outgoing_key();
RowKey loading_key();
RowKey stable_key();
RowKey parts_key();                    // "Mparts"; see parts.cc
RowKey part_here_key(uint32_t part);   // "Mphere" number BE 4
RowKey own_inos_key(uint64_t prefix);  // "Mpown" prefix BE 8
inline constexpr std::string_view kPartHerePrefix = "Mphere", kOwnInosPrefix = "Mpown";
inline constexpr std::string_view kAppliedPrefix = "G";
inline constexpr std::string_view kOrphanPrefix = "O";
inline constexpr std::string_view kPlacePrefix = "P";
Result<Ino> parse_orphan_key(std::string_view key);
Result<ObjectId> parse_place_key(std::string_view key);

Bytes encode(const ReplicaState&);
Result<ReplicaState> decode_replica_state(BytesView);  // kTooNew
Bytes encode_stable(uint64_t stamp);
Result<uint64_t> decode_stable(BytesView);
Bytes encode(const AppliedRecord&);
Result<AppliedRecord> decode_applied_record(BytesView);
Bytes encode(const PackPlace&);
Result<PackPlace> decode_pack_place(BytesView);
Bytes encode(const Replica::Outgoing&);
Result<Replica::Outgoing> decode_outgoing(BytesView);

}  // namespace coffer
