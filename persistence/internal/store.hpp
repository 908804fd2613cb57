#pragma once

#include <eventcore/persistence/journal.hpp>

#include <string_view>

namespace eventcore::internal {

/// The writing half of a backend: one transaction at a time, driven by the commit writer alone, on one thread at a time. A
/// store checks nothing; versions, epochs and bounds are the commit writer's business.
class store {
public:
  virtual ~store() = default;

  /// Starts a transaction. An error means that nothing was started; a later call may succeed.
  virtual result<void> begin() = 0;

  /// The last position, including what the open transaction appended.
  virtual log_position head() const noexcept = 0;

  /// A stream's version before the open transaction. (The commit writer remembers what it appended itself.)
  virtual result<stream_version> version_of(const stream_id& stream) = 0;

  /// A cursor's position in the open transaction; 0 if there is none.
  virtual result<log_position> cursor(const std::string& name) = 0;

  // -- writes into the open transaction; after an error only `abort` may follow --

  /// Appends at `head() + 1`. `body` is a record's submitter part (see record_codec.hpp).
  virtual result<void> append(const stream_id& stream, stream_version version, std::string_view body) = 0;
  virtual result<void> put_cursor(const std::string& name, log_position position) = 0;
  virtual result<void> change_timer(const timer_change& change) = 0;
  /// Does nothing if this form of the type is stored already.
  virtual result<void> put_event_type(const event_type_info& type) = 0;

  /// Ends the transaction: makes it durable, then visible to readers. The error `outcome_unknown` means that it may or may
  /// not have happened, any other error that nothing of it happened.
  virtual result<void> commit() = 0;
  virtual void abort() noexcept = 0;
};

} // namespace eventcore::internal
