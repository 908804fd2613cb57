#pragma once

#include <eventcore/persistence/uuid.hpp>

#include <lmdb.h>

#include <boost/test/unit_test.hpp>

#include <filesystem>
#include <string>

namespace eventcore::test {

/// What a restored backup's journal says of itself, all else unchanged.
inline void stamp_anew(const std::filesystem::path& dir) {
  MDB_env* env = nullptr;
  MDB_txn* txn = nullptr;
  MDB_dbi dbi{};
  std::string name = "incarnation", text = to_string(uuid::random());
  MDB_val key{name.size(), name.data()}, value{text.size(), text.data()};
  mdb_env_create(&env);
  mdb_env_set_maxdbs(env, 16);
  BOOST_TEST_REQUIRE(mdb_env_open(env, dir.c_str(), 0, 0600) == 0);
  BOOST_TEST_REQUIRE(mdb_txn_begin(env, nullptr, 0, &txn) == 0);
  BOOST_TEST_REQUIRE(mdb_dbi_open(txn, "meta", 0, &dbi) == 0);
  BOOST_TEST_REQUIRE(mdb_put(txn, dbi, &key, &value, 0) == 0);
  BOOST_TEST_REQUIRE(mdb_txn_commit(txn) == 0);
  mdb_env_close(env);
}

} // namespace eventcore::test
