#pragma once
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

// What OpenSSL has as macros, which Swift does not see.

static inline int sae_ssl_only_tls13(SSL_CTX *context) {
    return SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
}

// An idle connection holds no buffers, and no write is repeated with the same pointer.
static inline void sae_ssl_keep_little(SSL_CTX *context) {
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
}

static inline int sae_ssl_name_server(SSL *session, const char *name) {
    return SSL_set_tlsext_host_name(session, name) == 1;
}

static inline void sae_x509_free_all(STACK_OF(X509) *certificates) {
    sk_X509_pop_free(certificates, X509_free);
}

// A BIO has nothing to read for now.
static inline void sae_bio_is_empty(BIO *bio) {
    BIO_set_retry_read(bio);
}

static inline void sae_bio_is_ready(BIO *bio) {
    BIO_clear_retry_flags(bio);
}
