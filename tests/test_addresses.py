from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeder.addresses import is_allowed, networks

# Each of these has been used to reach what was not meant to be reached.
NOT_OF_THE_INTERNET = """
0.0.0.0 0.0.0.1 0.255.255.255 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 100.127.255.255 127.0.0.1 127.1.2.3
127.255.255.255 169.254.0.1 169.254.169.254 169.254.170.2 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.192 192.0.2.1 192.88.99.1
192.88.99.3 192.168.0.1 192.168.255.255 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 224.0.0.251 239.255.255.250
240.0.0.1 255.255.255.254 255.255.255.255 168.63.129.16
:: ::1 ::7f00:1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:0.0.0.0 ::ffff:8.8.8.8 64:ff9b::7f00:1
64:ff9b::127.0.0.1 64:ff9b::10.0.0.1 64:ff9b::a9fe:a9fe 64:ff9b:1::1 64:ff9b:1::8.8.8.8 100::1 2001::1 2001:0:7f00:1:: 2001:2::1
2001:10::1 2001:20::1 2001:db8::1 3fff::1 5f00::1 2002:7f00:1:: 2002:a00:1:: 2002:a9fe:a9fe:: 2002:808:808:: fc00::1 fd00::1
fd00:ec2::254 fdff:ffff::1 fe80::1 fe80::1%eth0 febf::1 fec0::1 feff::1 ff00::1 ff02::1 ff02::fb ff05::2 ff0e::1
""".split()
OF_THE_INTERNET = """
1.1.1.1 8.8.8.8 93.184.216.34 100.63.255.255 100.128.0.1 172.15.255.255 172.32.0.1 192.167.255.255 192.169.0.1 198.17.255.255
198.20.0.1 223.255.255.255 2606:4700:4700::1111 2a00:1450:4001:80b::200e 2001:4860:4860::8888 64:ff9b::8.8.8.8 2003::1
""".split()


def test_there_are_enough_of_them():
    assert len(set(NOT_OF_THE_INTERNET)) >= 60


@pytest.mark.parametrize("address", NOT_OF_THE_INTERNET)
def test_what_is_not_of_the_internet_is_not_reached(address):
    assert not is_allowed(address, ())


@pytest.mark.parametrize("address", OF_THE_INTERNET)
def test_what_is_of_the_internet_is_reached(address):
    assert is_allowed(address, ())


@pytest.mark.parametrize(
    ("allowed", "address", "reached"),
    [
        (["127.0.0.1"], "127.0.0.1", True),
        (["127.0.0.1"], "127.0.0.2", False),
        (["10.0.0.0/8"], "10.1.2.3", True),
        (["10.0.0.0/8"], "::ffff:10.1.2.3", True),
        (["10.0.0.0/8"], "64:ff9b::10.1.2.3", True),
        (["10.0.0.0/8"], "192.168.0.1", False),
        (["10.0.0.0/8"], "2002:c0a8:1::", False),
        (["fd00::/8", "10.0.0.0/8"], "fd12::1", True),
        (["fd00::/8"], "10.0.0.1", False),
        (["10.0.0.0/8"], "8.8.8.8", True),
        (["fe80::/10"], "fe80::1%eth0", True),
    ],
)
def test_what_the_settings_allow_is_reached_beside_it(allowed, address, reached):
    assert is_allowed(address, networks(tuple(allowed))) is reached


@given(st.ip_addresses(v=4))
def test_an_address_in_the_clothes_of_another_is_no_better_than_itself(address):
    if not is_allowed(str(address), ()):
        number = int(address)
        assert not is_allowed(f"::ffff:{address}", ())
        assert not is_allowed(f"64:ff9b::{address}", ())
        assert not is_allowed(f"2002:{number >> 16:x}:{number & 0xFFFF:x}::", ())


@given(st.text(max_size=40))
def test_what_is_no_address_is_not_reached(text):
    assert not is_allowed(f"x{text}", ())


@pytest.mark.parametrize("written", ["intranet", "10.0.0.1/8", "10.0.0.0/33", "", "::/129"])
def test_what_is_no_network_is_named(written):
    with pytest.raises(ValueError, match=r"is no address or network, like 10\.0\.0\.7 or 10\.0\.0\.0/8"):
        networks((written,))
