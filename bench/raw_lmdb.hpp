#pragma once

#include <filesystem>
#include <memory>
#include <string_view>

namespace bench {

/// A log of LMDB alone, in an empty folder. Throws.
class lmdb_log {
public:
  explicit lmdb_log(const std::filesystem::path& dir);
  ~lmdb_log();

  /// Appends one record in a transaction of its own; it is on disk when this returns.
  void commit(std::string_view record);

private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

} // namespace bench
