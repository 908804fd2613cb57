#pragma once

#include "faults.hpp"

#include <eventcore/persistence/error.hpp>
#include <eventcore/persistence/journal.hpp>

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>

namespace shop {

/// A payment service as somebody else would run it: it speaks HTTP on a port of this machine's loopback, and keeps its books in
/// a journal of its own.
///
/// - `POST /payments` with `{"order_id", "customer_id", "cents"}` takes a payment: 200; 402 if it is declined, 409 if it was
///   cancelled before. A repeat with the same `Idempotency-Key` gets the first answer.
/// - `DELETE /payments/ID` cancels the payment of an order: 200, also when repeated; 404 if nothing was taken, and then nothing
///   ever will be; 409 if it is told to refuse.
class gateway {
public:
  /// `late` is how long a slow answer takes. Errors: those of `open_lmdb_journal`; `io_error` if there is no port.
  static eventcore::result<std::unique_ptr<gateway>>
  open(const std::filesystem::path& dir, const faults& which, std::chrono::milliseconds late);
  ~gateway();

  std::string url() const;
  /// The books.
  eventcore::journal& journal() noexcept;

private:
  struct impl;
  explicit gateway(std::unique_ptr<impl> content);
  std::unique_ptr<impl> impl_;
};

} // namespace shop
