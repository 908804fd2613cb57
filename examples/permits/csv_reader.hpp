#pragma once

#include <eventcore/persistence/error.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

struct csv_parser;

namespace permits {

/// Reads a CSV file (RFC 4180, with a header) record by record, in memory bounded by `max_record_bytes`. Line
/// ends may be LF, CRLF or CR, a byte order mark and empty lines are passed over, and spaces belong to their
/// field.
///
/// Broken quotes and overlong records are errors that name the line, and end the reading: what follows has no
/// certain meaning. Not thread-safe.
class csv_reader {
public:
  static constexpr std::size_t max_record_bytes = 1u << 20;

  /// Opens a regular file and reads its header, which must be UTF-8.
  static eventcore::result<csv_reader> open(const std::filesystem::path& file);

  csv_reader(csv_reader&&) noexcept;
  csv_reader& operator=(csv_reader&&) noexcept;
  ~csv_reader();

  const std::vector<std::string>& header() const noexcept { return header_; }

  /// Where the columns of these names stand. Error: names those that are missing or ambiguous, and those
  /// present.
  eventcore::result<std::vector<std::size_t>> columns(const std::vector<std::string>& names) const;

  /// Goes on to the next record; false at the file's end.
  eventcore::result<bool> next();

  /// The current record's fields, as many as it has. They stay as they are until `next`.
  std::size_t size() const noexcept { return field_ends_.size(); }
  std::string_view field(std::size_t index) const noexcept;

  /// The line on which the current record starts, from 1.
  std::uint64_t line() const noexcept { return record_line_; }

private:
  struct close_file {
    void operator()(std::FILE* f) const noexcept { std::fclose(f); }
  };
  struct free_parser {
    void operator()(csv_parser* p) const noexcept;
  };

  csv_reader(std::filesystem::path path, std::unique_ptr<std::FILE, close_file> file);
  eventcore::error broken(std::uint64_t line, const std::string& what) const;
  eventcore::result<bool> fill();
  std::size_t piece_size() const noexcept;
  void pass_over(std::string_view parsed) noexcept;

  std::filesystem::path path_;
  std::unique_ptr<std::FILE, close_file> file_;
  std::unique_ptr<csv_parser, free_parser> parser_;
  std::vector<std::string> header_;

  std::vector<char> buffer_;
  std::size_t begin_ = 0; // of what is not parsed yet
  std::size_t end_ = 0;

  // The current record: its fields one after another, and where each of them ends.
  std::string text_;
  std::vector<std::size_t> field_ends_;
  bool complete_ = false;

  std::uint64_t line_ = 1; // of `begin_`
  std::uint64_t record_line_ = 1;
  std::size_t record_bytes_ = 0;
  bool after_cr_ = false;
};

} // namespace permits
